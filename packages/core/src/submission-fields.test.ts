import { expect, test } from 'vitest'
import { placeInSubmission, readSubmissionFields } from './submission-fields.ts'

const read = (fields: Record<string, string | string[]>) =>
  readSubmissionFields(
    Object.entries(fields).flatMap(([name, values]) =>
      [values].flat().map((value) => ({ name: `x-valija-${name}`, value })),
    ),
  )

test('every field means what the field of POST /send of that name means', () => {
  const { input, idempotencyKey, faults } = read({
    tag: ['a', 'b, c'],
    'metadata-order': '42',
    'metadata-a-b': '',
    'send-at': '2030-01-31T09:00:00Z',
    'idempotency-key': 'order-42',
    stream: 'bulk',
    route: 'eu',
    'ttl-seconds': '600',
    'require-tls': 'true',
    sandbox: 'false',
    sensitive: 'true',
    'notify-if-not-handed-off-within': '60',
    unsubscribe: 'true',
  })
  expect(faults).toEqual([])
  expect(idempotencyKey).toBe('order-42')
  expect(input).toEqual({
    tags: ['a', 'b, c'],
    metadata: { order: '42', 'a-b': '' },
    send_at: '2030-01-31T09:00:00Z',
    stream: 'bulk',
    route: 'eu',
    ttl_seconds: 600,
    require_tls: true,
    sandbox: false,
    sensitive: true,
    notify_if_not_handed_off_within: 60,
    unsubscribe: true,
  })
})

test('a mail of another Valija, whose relay we are, is taken', () => {
  expect(read({ recipient: 'token' })).toEqual({ input: {}, idempotencyKey: null, faults: [] })
})

test('a mail without such fields wishes nothing', () => {
  expect(read({})).toEqual({ input: {}, idempotencyKey: null, faults: [] })
})

test.each([
  ['idempotency-key', 'two words', 'X-Valija-Idempotency-Key'],
  ['idempotency-key', '', 'X-Valija-Idempotency-Key'],
  ['stream', 'fast', 'X-Valija-Stream'],
  ['route', '', 'X-Valija-Route'],
  ['ttl-seconds', '1e3', 'X-Valija-TTL-Seconds'],
  ['ttl-seconds', '', 'X-Valija-TTL-Seconds'],
  ['require-tls', 'yes', 'X-Valija-Require-TLS'],
  ['sandbox', '', 'X-Valija-Sandbox'],
  ['sensitive', 'TRUE', 'X-Valija-Sensitive'],
  ['notify-if-not-handed-off-within', '-1', 'X-Valija-Notify-If-Not-Handed-Off-Within'],
  ['unsubscribe', 'false', 'X-Valija-Unsubscribe'],
  ['tag', '\ufffd', 'X-Valija-Tag'],
  ['metadata-x', '\ufffd', 'X-Valija-Metadata-X'],
  ['colour', 'red', 'X-Valija-Colour'],
  ['__proto__', '1', 'X-Valija-__proto__'],
  ['constructor', '1', 'X-Valija-Constructor'],
  ['', '1', 'X-Valija-'],
])('%s: %j is refused by its name', (key, value, path) => {
  expect(read({ [key]: value }).faults.map((fault) => fault.path)).toEqual([path])
})

test('what stands once may not stand twice, since readers differ in which of two they take', () => {
  const { faults } = read({
    'send-at': ['2030-01-31T09:00:00Z', '2031-01-31T09:00:00Z'],
    'metadata-a': ['1', '2'],
  })
  expect(faults.map(({ path }) => path)).toEqual(['X-Valija-Send-At', 'X-Valija-Metadata-A'])
})

test('a key of metadata that is a name of every object is a key like others', () => {
  const { input } = read({ 'metadata-__proto__': '1' })
  expect(Object.entries(input.metadata ?? {})).toEqual([['__proto__', '1']])
})

test.each([
  ['/tags/0', 'X-Valija-Tag'],
  ['/metadata/order', 'X-Valija-Metadata-Order'],
  ['/send_at', 'X-Valija-Send-At'],
  ['/ttl_seconds', 'X-Valija-TTL-Seconds'],
  ['/unsubscribe', 'X-Valija-Unsubscribe'],
  ['/route', 'X-Valija-Route'],
  ['/from', 'MAIL FROM'],
  ['/from/email', 'MAIL FROM'],
  ['/to/3/email', 'RCPT TO'],
  ['/raw', 'The mail'],
  ['X-Valija-Stream', 'X-Valija-Stream'],
])('a fault at %s is one of %s', (path, place) => {
  expect(placeInSubmission(path)).toBe(place)
})
