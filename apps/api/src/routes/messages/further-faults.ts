/**
 * What else is wrong with a message whose shape is refused. It never reaches the product's rules, and its sender wants to hear of
 * everything at once: so the rules judge a copy in which something harmless stands wherever the shape is wrong.
 */
import {
  type FieldFault,
  findBesideTemplateFaults,
  type MessageInput,
  validateMessage,
  withoutTemplate,
} from '@valija/core'

/** @param isOfShape whether a body meets the schema; null: its faults were not all searched for, since it is long */
export function findFurtherFaults(
  body: unknown,
  faults: readonly FieldFault[],
  isOfShape: ((body: unknown) => boolean) | null,
): FieldFault[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return []
  const copy = isOfShape === null ? null : mend(body, faults)
  if (copy === null || !isOfShape?.(copy)) return findLacking(body)
  const input = copy as unknown as MessageInput
  const isTemplated = input.template !== undefined
  const judged = validateMessage(isTemplated ? withoutTemplate(input) : input, {
    // Of a long body nothing further is told.
    maxMessageSizeBytes: Number.POSITIVE_INFINITY,
    now: new Date(),
  })
  return [...(isTemplated ? findBesideTemplateFaults(input) : []), ...(judged.ok ? [] : judged.errors)]
}

const address = 'nobody@valija.invalid'
/** What no rule has anything against, beside whatever else. Of a field that is not here its absence is that. */
const harmless: Record<string, unknown> = {
  ...{ from: address, to: address, cc: address, bcc: address, subject: '-', text: '-', html: '-' },
  // `unsubscribe` is wrong with the other one.
  stream: 'bulk',
}
const harmlessEntry: Record<string, unknown> = {
  ...{ to: address, cc: address, bcc: address, reply_to: address, tags: '-' },
  attachments: { filename: 'a.txt', content: '' },
}

function mend(body: object, faults: readonly FieldFault[]): Record<string, unknown> | null {
  const copy = structuredClone(body) as Record<string, unknown>
  for (const { path } of faults) {
    const [field = '', entry] = path
      .split('/')
      .slice(1)
      .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    // With it gone, what may not stand beside it may, and what it makes up for would be missing.
    if (field === 'raw' || field === 'template') {
      delete copy[field]
      copy.subject ??= harmless.subject
      copy.text ??= harmless.text
    } else if (!mendEntry(copy[field], field, entry)) {
      if (Object.hasOwn(harmless, field)) copy[field] = harmless[field]
      else delete copy[field]
    }
  }
  return copy
}

/** @returns false when the whole field is to be replaced */
function mendEntry(value: unknown, field: string, entry: string | undefined): boolean {
  if (entry === undefined || typeof value !== 'object' || value === null) return false
  if (Array.isArray(value) && Object.hasOwn(harmlessEntry, field)) {
    value[Number(entry)] = harmlessEntry[field]
    return true
  }
  if (field !== 'metadata' && field !== 'headers') return false
  return Reflect.deleteProperty(value, entry)
}

/** What is required of a message beside `from`, in the words of the rules. */
function findLacking(body: object): FieldFault[] {
  const lacks = (...names: (keyof MessageInput)[]) => names.every((name) => !Object.hasOwn(body, name))
  const faults: FieldFault[] = []
  if (lacks('to', 'cc', 'bcc'))
    faults.push({
      path: '/to',
      message: 'There is no recipient. Give at least one address in to, cc or bcc.',
    })
  if (lacks('raw', 'template', 'subject'))
    faults.push({ path: '/subject', message: 'Is missing. Give a subject, or the whole message in raw.' })
  if (lacks('raw', 'template', 'text', 'html'))
    faults.push({ path: '/text', message: 'The message has no content. Give text, html or both, or raw.' })
  return faults
}
