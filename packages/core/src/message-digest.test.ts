import { describe, expect, test } from 'vitest'
import {
  type DigestedMessage,
  type DigestedSearch,
  digestedMessages,
  digestMessages,
  digestPlaces,
} from './message-digest.ts'

const message = (change: Partial<DigestedMessage> = {}): DigestedMessage => ({
  fromEmail: 'Hi@acme.test',
  fromDomain: 'acme.test',
  stream: 'transactional',
  subject: 'Your order 4711 is on its way',
  tags: ['receipt'],
  metadata: { order: '4711' },
  ...change,
})

const has = (bytes: Uint8Array, place: number) => (((bytes[place >> 3] ?? 0) >> (place & 7)) & 1) === 1

/** Whether a digest lets a search look at its messages. */
function lets(messages: readonly DigestedMessage[], search: DigestedSearch): boolean {
  const [digest, places] = [digestMessages(messages), digestPlaces(search)]
  return (
    places.terms.every((place) => has(digest.terms, place)) &&
    places.subjects.every((place) => has(digest.subjects, place))
  )
}

/** As many as one digest has, each with an order of its own. */
const many = Array.from({ length: digestedMessages }, (_, index) =>
  message({
    subject: `Order ${700_000 + index * 7}`,
    metadata: { order: `${index}`, env: 'prod' },
    tags: [`tag${index % 50}`],
  }),
)

describe('what is there is never ruled out', () => {
  test.each<DigestedSearch>([
    { fromKey: 'hi@acme.test' },
    { domain: 'acme.test' },
    { stream: 'transactional' },
    { tag: 'tag7' },
    { metadata: { order: '17', env: 'prod' } },
    ...['o', 'or', 'ord', 'RDER', 'order', 'Order 700', '700007', 'Order 700007'].map((subject) => ({
      subject,
    })),
  ])('%j', (search) => {
    expect(lets(many, search)).toBe(true)
  })

  test.each([
    ['İstanbul', 'istanbul'],
    ['İstanbul', 'i̇stanbul'],
    ['ODA ISITICI', 'ısıtıcı'],
    ['ΟΔΟΣ ΠΑΡΟΔΟΣ', 'οδος'],
    ['ΟΔΟΣ ΠΑΡΟΔΟΣ', 'οδοσ πα'],
    ['Заказ 17', 'ЗАКАЗ'],
    ['注文の確認', '確認'],
    ['💌 love', '💌 l'],
    ['ABC', 'abc'],
  ])('a subject %s by %s, whatever the locale says of their cases', (subject, part) => {
    expect(lets([message({ subject })], { subject: part })).toBe(true)
  })
})

describe('what is not there is ruled out, nearly always', () => {
  test.each<DigestedSearch>([
    { fromKey: 'no@acme.test' },
    { domain: 'other.test' },
    { stream: 'bulk' },
    { tag: 'tag99' },
    { tag: 'TAG7' },
    { metadata: { order: '9999' } },
    { metadata: { order: 'prod' } },
    { subject: 'zz' },
    { subject: 'receipt' },
    { subject: 'Order 999999' },
  ])('%j', (search) => {
    expect(lets(many, search)).toBe(false)
  })

  test('of 10,000 numbers that no message has, under one in twenty passes, and under one in fifty of values', () => {
    const digest = digestMessages(many)
    const passes = (search: DigestedSearch, part: keyof typeof digest) =>
      digestPlaces(search)[part].every((place) => has(digest[part], place))
    const numbers = Array.from({ length: 10_000 }, (_, index) => `${800_001 + index * 13}`)
    expect(numbers.filter((subject) => passes({ subject }, 'subjects')).length).toBeLessThan(500)
    expect(numbers.filter((order) => passes({ metadata: { order } }, 'terms')).length).toBeLessThan(200)
  })
})

test('a search for nothing of this asks for no bit', () => {
  expect(digestPlaces({})).toEqual({ terms: [], subjects: [] })
})
