/**
 * What a mail that comes over SMTP says to us: the header fields `X-Valija-…`, which mean what the fields of POST /send of the same name
 * mean, and are not sent on. Here they are read; what they may hold is judged with the message (message-input.ts).
 *
 *   X-Valija-Tag              one tag; may stand several times
 *   X-Valija-Metadata-<Key>   a value of metadata; the key is lower case, since the case of a field's name is nobody's promise (RFC 5322 §1.2.2)
 *   X-Valija-Send-At          RFC 3339
 *   X-Valija-Idempotency-Key  as the header Idempotency-Key
 *   X-Valija-Stream, -Route, -TTL-Seconds, -Require-TLS, -Sandbox, -Sensitive, -Unsubscribe, -Notify-If-Not-Handed-Off-Within
 */
import type { FieldFault } from './errors.ts'
import { findIdempotencyKeyFault } from './idempotency-key.ts'
import type { MessageInput } from './message-input.ts'
import { streams } from './stream.ts'

export interface SubmissionFields {
  input: Omit<MessageInput, 'from' | 'to'>
  idempotencyKey: string | null
  faults: FieldFault[]
}

const PREFIX = 'x-valija-'
const METADATA = 'metadata-'

type ReadField = (value: string, into: SubmissionFields) => string | null

/** Fields that stand once: how each is read into the input; a text is what is wrong with it. */
const single = {
  'send-at': (value, { input }) => {
    input.send_at = value
    return null
  },
  'idempotency-key': (value, into) => {
    into.idempotencyKey = value
    return findIdempotencyKeyFault(value)
  },
  stream: (value, { input }) => {
    const stream = streams.find((name) => name === value)
    if (stream !== undefined) input.stream = stream
    return stream === undefined ? `Must be ${streams.join(' or ')}.` : null
  },
  route: (value, { input }) => {
    input.route = value
    return value === '' ? 'Is empty. Name a route, or leave it out.' : null
  },
  'ttl-seconds': (value, { input }) => {
    input.ttl_seconds = Number(value)
    return findSecondsFault(value)
  },
  'notify-if-not-handed-off-within': (value, { input }) => {
    input.notify_if_not_handed_off_within = Number(value)
    return findSecondsFault(value)
  },
  // Of a Valija whose relay we are (flows/report-fields.ts): ours puts in its own.
  recipient: () => null,
  'require-tls': yesOrNo('require_tls'),
  sandbox: yesOrNo('sandbox'),
  sensitive: yesOrNo('sensitive'),
  unsubscribe: (value, { input }) => {
    if (value === 'true') input.unsubscribe = true
    return value === 'true'
      ? null
      : 'Must be true (a link of ours for each recipient); write List-Unsubscribe yourself for another way.'
  },
} satisfies Record<string, ReadField>

/** By name: a field may have the name of what every object has. */
const readers = new Map<string, ReadField>(Object.entries(single))

/** @param name in lower case */
export function isSubmissionField(name: string): boolean {
  return name.startsWith(PREFIX)
}

/**
 * Reads the fields of one mail.
 *
 * @param fields those that `isSubmissionField` knows, with names in lower case, in their order
 * @returns what they say, and all that is wrong with them, by the name of the field
 */
export function readSubmissionFields(fields: readonly { name: string; value: string }[]): SubmissionFields {
  const read: SubmissionFields = { input: {}, idempotencyKey: null, faults: [] }
  const seen = new Set<string>()
  const tags: string[] = []
  const metadata: [string, string][] = []
  for (const { name, value } of fields) {
    const key = name.slice(PREFIX.length)
    const fault = value.includes('\ufffd') ? 'Is not UTF-8.' : null
    if (key === 'tag') tags.push(value)
    else if (key.startsWith(METADATA)) metadata.push([key.slice(METADATA.length), value])
    const readOne = key === 'tag' || key.startsWith(METADATA) ? () => fault : readers.get(key)
    const message = seen.has(key) && key !== 'tag' ? 'Stands twice. Leave only one.' : readOne?.(value, read)
    seen.add(key)
    if (message !== null) read.faults.push({ path: titleOf(key), message: message ?? unknown })
  }
  if (tags.length > 0) read.input.tags = tags
  if (metadata.length > 0) read.input.metadata = Object.fromEntries(metadata)
  return read
}

const unknown =
  'Is no field of ours. There are X-Valija-Tag, -Metadata-*, -Send-At, -Idempotency-Key, -Stream, -Route, -TTL-Seconds, -Require-TLS, -Sandbox, -Sensitive, -Unsubscribe and -Notify-If-Not-Handed-Off-Within.'

/**
 * Where a fault of a message that came over SMTP stands: in a header field of ours, the envelope, or the mail.
 *
 * @param path of the fault: a JSON pointer into the body of POST /send, or a field's name already
 */
export function placeInSubmission(path: string): string {
  const [, field = '', ...steps] = path.split('/')
  if (!path.startsWith('/')) return path
  if (field === 'from') return 'MAIL FROM'
  if (field === 'to') return 'RCPT TO'
  if (field === 'raw') return 'The mail'
  if (field === 'tags') return titleOf('tag')
  if (field === 'metadata') return titleOf(`${METADATA}${steps.join('/')}`)
  return titleOf(field.replaceAll('_', '-'))
}

/** `x-valija-send-at` as it is usually written. */
function titleOf(key: string): string {
  const words =
    key === 'ttl-seconds' || key === 'require-tls' ? key.replace('ttl', 'TTL').replace('tls', 'TLS') : key
  return `X-Valija-${words.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())}`
}

function yesOrNo(field: 'require_tls' | 'sandbox' | 'sensitive'): ReadField {
  return (value, { input }) => {
    input[field] = value === 'true'
    return value === 'true' || value === 'false' ? null : 'Must be true or false.'
  }
}

function findSecondsFault(value: string): string | null {
  return /^\d{1,9}$/.test(value) ? null : 'Must be a whole number of seconds.'
}
