/**
 * What may have arrived: repeated or not, as the tenant chose (DESIGN 4.5, `at_most_once`). Two tenants send the same mails, and each
 * meets the same accidents:
 *
 *   after    the worker gets SIGKILL when the receiving server has the whole mail, and before its reply
 *   lost     the connection breaks there
 *   before   the worker gets SIGKILL while it waits for the answer to DATA, when nothing of the mail has been sent
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type AttemptView,
  type EventView,
  type MessageView,
  post,
  readAttempts,
  readEvents,
  untilEnded,
} from './support/message-life.ts'
import { type ReceivedMail, type SmtpPeer, silence, startSmtpPeer, vanish } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { type Call, expectStatus, startValija, type Valija } from './support/valija.ts'

const accidents = ['after', 'lost', 'before'] as const
type Accident = (typeof accidents)[number]
const modes = ['once', 'repeated'] as const
type Mode = (typeof modes)[number]

let valija: Valija
let peer: SmtpPeer
const calls = {} as Record<Mode, Call>
const messages = new Map<string, MessageView>()

const nameOf = (mode: Mode, accident: Accident) => `${mode}-${accident}@example.org`
const copies = (mode: Mode, accident: Accident): ReceivedMail[] =>
  // What never got its reply was kept by the peer all the same.
  [...peer.refused, ...peer.mails].filter(({ to }) => to[0] === nameOf(mode, accident))
const message = (mode: Mode, accident: Accident) => messages.get(nameOf(mode, accident))!

async function addTenants(): Promise<void> {
  for (const mode of modes) {
    const { id, call } = await valija.addTenant(mode, `${mode}.test`)
    calls[mode] = call
    if (mode === 'once')
      expectStatus(await valija.admin('PATCH', `/tenants/${id}`, { at_most_once: true }), 200)
  }
}

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, workers: 0 })
  await addTenants()
  const reached = new Set<string>()
  const first = new Set<string>()
  const reachedBy = (accident: Accident, to: string[]) => {
    const isOf = to[0]?.includes(`-${accident}@`) === true
    if (isOf) reached.add(to[0]!)
    return isOf
  }
  peer.script = {
    data: ({ to }) => (reachedBy('before', to) ? silence() : undefined),
    body: ({ to }) => {
      if (reachedBy('after', to)) return silence()
      if (!reachedBy('lost', to) || first.has(to[0]!)) return undefined
      first.add(to[0]!)
      return vanish('close')
    },
  }
  // Nothing is tried again before the kill, which might fall into that as well.
  const worker = await valija.addWorker({ VALIJA_RETRY_SCHEDULE: '1h' })
  const ids = new Map<string, string>()
  for (const mode of modes) {
    for (const accident of accidents) {
      const to = nameOf(mode, accident)
      const mail = valija.mail({ from: `hi@${mode}.test`, to })
      ids.set(to, await post(calls[mode], mail))
    }
  }
  await until('every mail at its accident', () => reached.size === ids.size, 90_000)
  await worker.kill()
  peer.script = {}
  // Time passes: the leases of the worker that is gone run out, and what it has put off is due.
  await valija.sql(
    `UPDATE valija.deliveries SET leased_until = now() - interval '3 s' WHERE state = 'leased'`,
  )
  await valija.sql(`UPDATE valija.deliveries SET due_at = now() - interval '1 s' WHERE state = 'waiting'`)
  await valija.addWorker({ VALIJA_RETRY_SCHEDULE: '1s' })
  for (const mode of modes) {
    for (const accident of accidents) {
      const to = nameOf(mode, accident)
      messages.set(to, await untilEnded(calls[mode], ids.get(to)!, 120_000))
    }
  }
}, 300_000)

afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const seen = async (mode: Mode, accident: Accident): Promise<[AttemptView[], EventView]> => {
  const { id } = message(mode, accident)
  return [await readAttempts(calls[mode], id), (await readEvents(calls[mode], id)).at(-1)!]
}

describe.each(['after', 'lost'] as const)(
  'a mail that was handed over whole and got no reply (%s)',
  (accident) => {
    test('is not sent again for a tenant that chose at_most_once: it fails, as uncertain', async () => {
      expect(copies('once', accident)).toHaveLength(1)
      expect(message('once', accident)).toMatchObject({
        status: 'failed',
        recipients: [{ reason: 'network', attempts: 1 }],
      })
      const [attempts, end] = await seen('once', accident)
      expect(attempts).toHaveLength(1)
      expect(attempts[0]).toMatchObject({
        outcome: 'failed',
        phase: 'body',
        uncertain: true,
        reason: 'network',
      })
      expect(end).toMatchObject({ type: 'message.failed', data: { reason: 'network', uncertain: true } })
      expect(end.data.explanation).toMatch(/may have been delivered.*at_most_once/)
    })

    test('and explain says that it may have been delivered', async () => {
      type Explained = { recipients: { because: { kind: string; detail: string }[]; remedy: string }[] }
      const path = `/messages/${message('once', accident).id}/explain`
      const [told] = expectStatus(await calls.once<Explained>('GET', path), 200).json.recipients
      expect(told!.because[0]).toMatchObject({
        kind: 'at_most_once',
        detail: expect.stringMatching(/may have been delivered/),
      })
      expect(told!.remedy).toMatch(/Send it again only if it did not/)
    })

    test('is sent again for everybody else, with the same Message-ID and the same bytes', () => {
      const [first, second, ...more] = copies('repeated', accident)
      expect(message('repeated', accident).status).toBe('delivered')
      expect(more).toEqual([])
      expect(second!.raw.equals(first!.raw)).toBe(true)
      expect(first!.text).toContain(message('repeated', accident).rfc_message_id)
    })
  },
)

test.each(modes)(
  'a mail whose worker was killed before the final dot is sent after all, and once (%s)',
  (mode) => {
    expect(message(mode, 'before')).toMatchObject({ status: 'delivered', recipients: [{ attempts: 1 }] })
    expect(copies(mode, 'before')).toHaveLength(1)
  },
)
