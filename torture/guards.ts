/**
 * Guards of the product that a run can do without, to see that it then turns red: a check that no run needs proves nothing.
 *
 * Each is a change to the source as it is loaded. The old text must be there exactly once, else the run stops: a guard that was
 * written anew has to be found anew. A change adds no line, so that positions stay what they are.
 */
export interface SourceChange {
  file: string
  old: string
  new: string
}

export const guards = {
  /** Nobody looks for leases that ran out, lost hints, a flushed queue. */
  sweep: [
    {
      file: 'packages/flows/src/sweep-deliveries.ts',
      old: 'const round = async () => {',
      new: 'const round = async () => { return sweepEveryMs;',
    },
  ],
  /** A worker never asks whether a mail is still its own: not before MAIL, before the first byte, or before the final dot. */
  'lease-check': [
    {
      file: 'packages/flows/src/held-leases.ts',
      old: 'isValid: (lease) => !lease.isRecalled && performance.now() < lease.validUntilMs,',
      new: 'isValid: () => true,',
    },
  ],
  /** Every byte of the peer begins the time-out anew. */
  'total-deadlines': [
    {
      file: 'packages/courier/src/dialogue.ts',
      old: '  /** Nothing more will be said. */',
      new: '  heardSomething(): void { if (this.step !== undefined) { this.#openBy = Infinity; this.#beginStep() } }',
    },
    {
      file: 'packages/courier/src/smtp-wire.ts',
      old: '#onData = (chunk: Buffer): void => {',
      new: '#onData = (chunk: Buffer): void => { this.#dialogue.heardSomething();',
    },
  ],
} as const satisfies Record<string, readonly SourceChange[]>

export type Guard = keyof typeof guards

/**
 * The text of a file with the changes that concern it.
 *
 * @throws {Error} when an old text is not there exactly once
 */
export function changeSource(file: string, text: string, changes: readonly SourceChange[]): string {
  let changed = text
  for (const change of changes) {
    if (change.file !== file) continue
    const found = changed.split(change.old).length - 1
    if (found !== 1)
      throw new Error(`${file}: ${JSON.stringify(change.old)} is there ${found} times, not once`)
    changed = changed.replace(change.old, () => change.new)
  }
  return changed
}
