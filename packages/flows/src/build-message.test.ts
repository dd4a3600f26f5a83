import { type Caller, createIdSource, type MessageInput, scopes, validateMessage } from '@valija/core'
import { decodeBody } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { buildMessage } from './build-message.ts'

const nowMs = Date.parse('2026-11-23T14:00:00Z')
const options = {
  maxMessageSizeBytes: 1_000_000,
  delivery: 'smarthost',
  messageTtlMs: { transactional: 86_400_000, bulk: 259_200_000 },
}
const caller: Caller = {
  tenantId: '01a208de-6941-7000-a86b-41e17ac78d54',
  keyId: null,
  scopes: new Set(scopes),
  domains: [],
  recipients: [],
  route: null,
  isOperator: false,
  isDefaultTenant: false,
}

function build(more: Partial<MessageInput>, as: Partial<Caller> = {}) {
  const input = { from: 'hi@acme.test', to: 'ann@example.org', subject: 's', text: 't', ...more }
  const checked = validateMessage(input, { maxMessageSizeBytes: 1_000_000, now: new Date(nowMs) })
  if (!checked.ok) throw new Error(JSON.stringify(checked.errors))
  const nextId = createIdSource(() => nowMs)
  return buildMessage({
    caller: { ...caller, ...as },
    message: checked.value,
    claim: null,
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
  test('is dated when it is to be sent: a scheduled one does not arrive as an old one', () => {
    expect(dateOf(build({}))).toBe('2026-11-23T14:00:00.000Z')
    expect(dateOf(build({ send_at: '2026-12-24T08:00:00Z' }))).toBe('2026-12-24T08:00:00.000Z')
  })

  test('lives from its send_at on, not from its acceptance', () => {
    const built = build({ send_at: '2026-12-24T08:00:00Z', ttl_seconds: 60 })
    expect(new Date(built.row.expiresAtMs).toISOString()).toBe('2026-12-24T08:01:00.000Z')
  })

  test('takes the route of its key, and its 202 says so', () => {
    expect(JSON.parse(build({}).answer).delivery).toBe('smarthost')
    const bound = build({}, { route: 'capture' })
    expect(bound.row.route).toBe('capture')
    expect(JSON.parse(bound.answer).delivery).toBe('capture')
  })

  test('has one accepted event for each recipient, and says what else has happened to it already', () => {
    const to = ['ann@example.org', 'suppressed@simulator.valija.test']
    const events = build({ to }).row.events.map(({ type }) => type)
    expect(events).toEqual(['message.accepted', 'message.accepted', 'message.suppressed'])
    const scheduled = build({ send_at: '2026-12-24T08:00:00Z' })
    expect(scheduled.row.events.map(({ type }) => type)).toEqual(['message.accepted', 'message.scheduled'])
  })
})
