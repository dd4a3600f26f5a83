/** The names of management actions in the audit log: `webhook.created` for the operation createWebhook. Published, like events. */

const pastOf: Readonly<Record<string, string>> = {
  create: 'created',
  update: 'changed',
  delete: 'deleted',
  revoke: 'revoked',
  // Whether it is verified then is told by an event.
  verify: 'checked',
  rotate: 'rotated',
  test: 'tested',
  replay: 'replayed',
  resume: 'resumed',
  import: 'imported',
  undo: 'undone',
  clear: 'cleared',
  publish: 'published',
  restore: 'restored',
  render: 'rendered',
  request: 'requested',
  hold: 'held',
  release: 'released',
  end: 'ended',
}

/** @throws {RangeError} for an operation whose verb is not among them: it would be in the log without a name */
export function auditAction(operationId: string): string {
  const [, verb = '', noun = ''] = /^([a-z]+)([A-Z]\w*)$/.exec(operationId) ?? []
  const past = pastOf[verb]
  if (past === undefined) {
    throw new RangeError(`the audit log has no word for ${operationId}: add its verb to audit-action.ts`)
  }
  const name = noun.replace(/[A-Z]/g, (letter, at: number) => `${at > 0 ? '_' : ''}${letter.toLowerCase()}`)
  return `${name}.${past}`
}

/** What is written to things that are watched, whose entry is made with them. */
const written: ReadonlySet<string> = new Set([
  'created',
  'changed',
  'deleted',
  'revoked',
  'imported',
  'undone',
  'published',
])

/**
 * Of how many things the entry of an action is that succeeded without an entry of its own: one that writes has found everything as it was
 * to become, another, such as a test, is one thing done.
 */
export function countOfUnwritten(action: string): 0 | 1 {
  return written.has(action.split('.')[1] ?? '') ? 0 : 1
}
