import {
  type Caller,
  createIdSource,
  type MessageInput,
  type MessageValidation,
  noLimits,
  scopes,
  validateMessage,
} from '@valija/core'
import { decodeBody } from '@valija/store'
import { describe, expect, test } from 'vitest'
import type { AcceptedWay } from './accept-route.ts'
import { buildMessage, type NamedClaim, suppressRecipients } from './build-message.ts'

const nowMs = Date.parse('2026-11-23T14:00:00Z')
const options = {
  maxMessageSizeBytes: 1_000_000,
  delivery: 'smarthost' as const,
  publicUrl: 'https://mail.valija.test',
  messageTtlMs: { transactional: 86_400_000, bulk: 259_200_000 },
}
const limits = { maxMessageSizeBytes: options.maxMessageSizeBytes, now: new Date(nowMs) }
const caller: Caller = {
  tenantId: '01a208de-6941-7000-a86b-41e17ac78d54',
  keyId: null,
  scopes: new Set(scopes),
  domains: [],
  recipients: [],
  route: null,
  isOperator: false,
  isDefaultTenant: false,
  queuedLimit: null,
  limits: noLimits(),
}

function build(
  more: Partial<MessageInput>,
  way: AcceptedWay = { route: 'smarthost', delivery: 'smarthost' },
  claim: NamedClaim | null = null,
) {
  const input = { from: 'hi@acme.test', to: 'ann@example.org', subject: 's', text: 't', ...more }
  return buildChecked(validateMessage(input, limits), way, claim)
}

function buildChecked(
  checked: MessageValidation,
  way: AcceptedWay = { route: 'smarthost', delivery: 'smarthost' },
  claim: NamedClaim | null = null,
) {
  if (!checked.ok) throw new Error(JSON.stringify(checked.errors))
  const nextId = createIdSource(() => nowMs)
  return buildMessage({
    caller,
    message: checked.value,
    way,
    claim,
    nowMs,
    nextId,
    options,
  })
}

function dateOf(built: ReturnType<typeof build>): string {
  const body = decodeBody(built.row.body)
  if (body.kind !== 'fields') throw new Error('not made of fields')
  return body.composition.date.toISOString()
}

describe('an accepted message', () => {
  test('that came raw is what was judged: its header is read once, and not when it is built', () => {
    const raw = Buffer.from('From: a@acme.test\r\nBcc: b@b.test\r\nX-Y: z\r\n\r\nbody\r\n')
    const draft = { from: 'hi@acme.test', to: 'ann@example.org', raw }
    const checked = validateMessage(draft, limits)
    raw.fill('\r', 0, raw.indexOf('\r\n\r\n'))
    const body = decodeBody(buildChecked(checked).row.body)
    if (body.kind !== 'raw') throw new Error('not raw')
    expect(body.bytes.toString()).toMatch(
      /^From: a@acme.test\r\nX-Y: z\r\nMessage-ID: <[^>]+>\r\nDate: [^\r]+\r\n\r\nbody\r\n$/,
    )
  })

  test('is dated when it is to be sent: a scheduled one does not arrive as an old one', () => {
    expect(dateOf(build({}))).toBe('2026-11-23T14:00:00.000Z')
    expect(dateOf(build({ send_at: '2026-12-24T08:00:00Z' }))).toBe('2026-12-24T08:00:00.000Z')
  })

  test('lives from its send_at on, not from its acceptance', () => {
    const built = build({ send_at: '2026-12-24T08:00:00Z', ttl_seconds: 60 })
    expect(new Date(built.row.expiresAtMs).toISOString()).toBe('2026-12-24T08:01:00.000Z')
  })

  test('takes the way that it was accepted for, and its 202 says of what kind', () => {
    const { row, answer } = build({}, { route: 'relay-1', delivery: 'smarthost' })
    expect(row).toMatchObject({ route: 'relay-1', delivery: 'smarthost' })
    expect(JSON.parse(answer).delivery).toBe('smarthost')
  })

  test('has one accepted event for each recipient, and says what else has happened to it already', () => {
    const to = ['ann@example.org', 'suppressed@simulator.valija.test']
    const events = build({ to }).row.events.map(({ type }) => type)
    expect(events).toEqual(['message.accepted', 'message.accepted', 'message.suppressed'])
    const scheduled = build({ send_at: '2026-12-24T08:00:00Z' })
    expect(scheduled.row.events.map(({ type }) => type)).toEqual(['message.accepted', 'message.scheduled'])
  })

  test('ends at once for a recipient that is suppressed, also when it is scheduled; the event names the entry', () => {
    const hit = { id: '01a208de-6941-7000-a86b-41e17ac78d55', reason: 'mailbox_unknown' } as const
    const send = { to: ['Ann@example.org', 'bob@example.org'], send_at: '2026-12-24T08:00:00Z' }
    const before = build(send)
    const [ann, bob] = before.row.recipients
    const built = suppressRecipients(
      before,
      new Map([[ann!.id, hit]]),
      createIdSource(() => nowMs),
    )
    expect(JSON.parse(built.answer)).toEqual({
      ...JSON.parse(before.answer),
      recipients: [
        expect.objectContaining({ email: 'Ann@example.org', status: 'suppressed' }),
        expect.objectContaining({ email: 'bob@example.org', status: 'scheduled' }),
      ],
    })
    expect(built.row).toMatchObject({
      id: before.row.id,
      body: before.row.body,
      recipients: [{ ...ann, status: 'suppressed', reason: 'mailbox_unknown', seq: 2 }, bob],
    })
    expect(built.row.events.map(({ type }) => type)).toEqual([
      'message.accepted',
      'message.suppressed',
      'message.accepted',
      'message.scheduled',
    ])
    expect(built.row.events[1]!.data).toMatchObject({
      reason: 'mailbox_unknown',
      suppression_id: 'sup_01a208de69417000a86b41e17ac78d55',
    })
  })

  test('has ids of its acceptance that lie before its recipients’, also where some are suppressed later: a worker tells after those', () => {
    const before = build({ to: ['ann@example.org', 'bob@example.org'] })
    const hit = { id: '01a208de-6941-7000-a86b-41e17ac78d55', reason: 'mailbox_unknown' } as const
    const hits = new Map([[before.row.recipients[0]!.id, hit]])
    const later = createIdSource(() => nowMs + 2_000)
    for (const { row } of [before, suppressRecipients(before, hits, later)]) {
      const accepted = row.events.filter(({ type }) => type === 'message.accepted').map(({ id }) => id)
      const [first] = row.recipients.map(({ id }) => id).toSorted()
      expect(accepted.map((id) => id < first!)).toEqual([true, true])
    }
  })

  test('stores the answer that it gives under its key', () => {
    const claim = { key: 'k', bodyHash: Buffer.from('x'), hiddenNames: [] }
    const before = build({}, undefined, claim)
    expect(before.row.idempotency?.response).toBe(before.answer)
    const hit = { id: '01a208de-6941-7000-a86b-41e17ac78d55', reason: 'manual' } as const
    const hits = new Map([[before.row.recipients[0]!.id, hit]])
    const built = suppressRecipients(
      before,
      hits,
      createIdSource(() => nowMs),
    )
    expect(built.answer).toContain('"suppressed"')
    expect(built.row.idempotency).toEqual({ ...before.row.idempotency, response: built.answer })
  })
})
