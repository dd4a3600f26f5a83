/**
 * A small internet and a Valija that delivers straight into it, for tests of what receivers and their DNS do on bad days.
 *
 *     const world = await startWorld()
 *     const peer = await world.internet.site('one.test', { script: { rcpt: ['450 4.3.2 later'] } })
 *     const { recipient, attempts } = await world.send('ann@one.test')
 */
import type { DnsServerOptions } from './dns-server.ts'
import { type Internet, startInternet } from './internet.ts'
import {
  type AttemptView,
  eventTypes,
  type MessageView,
  post,
  type RecipientView,
  readAttempts,
  readMessage,
  untilEnded,
} from './message-life.ts'
import { PATIENCE_MS, until } from './until.ts'
import { expectStatus, startValija, type Valija } from './valija.ts'

/** What became of a mail to one recipient. */
export type Fate = {
  message: MessageView
  recipient: RecipientView
  attempts: AttemptView[]
  /** `accepted`, `deferred` … in order. */
  events: string[]
}

export type World = {
  internet: Internet
  valija: Valija
  /** Gives the id of a mail that was accepted. */
  post: (to: string, fields?: Record<string, unknown>) => Promise<string>
  /** Waits for its end. */
  fateOf: (id: string, timeoutMs?: number) => Promise<Fate>
  /** Both. */
  send: (to: string, fields?: Record<string, unknown>) => Promise<Fate>
  /** Waits until so many attempts are on record. */
  tried: (id: string, count?: number, timeoutMs?: number) => Promise<AttemptView[]>
  recipientOf: (id: string) => Promise<RecipientView>
  /** What waits for its next try is due now: the clock of the database is moved instead of waited for. */
  hasten: (id: string) => Promise<void>
  isSuppressed: (email: string) => Promise<boolean>
  stop: () => Promise<void>
}

export type WorldOptions = { env?: Record<string, string>; workers?: number; dns?: DnsServerOptions }

/** One second between tries, unless `env` says otherwise. */
export async function startWorld({ env = {}, workers = 1, dns = {} }: WorldOptions = {}): Promise<World> {
  const internet = await startInternet(dns)
  const valija = await startValija({
    queue: 'postgres',
    delivery: 'mx',
    internet,
    workers,
    env: { VALIJA_RETRY_SCHEDULE: '1s', ...env },
  }).catch(async (error) => {
    await internet.stop()
    throw error
  })
  return {
    internet,
    ...actionsOn(valija),
    stop: async () => {
      await valija.stop()
      await internet.stop()
    },
  }
}

/** What is done and asked in these tests, at any Valija. */
export function actionsOn(valija: Valija): Omit<World, 'internet' | 'stop'> {
  const { api } = valija
  const send = (to: string, fields: Record<string, unknown> = {}) => post(api, valija.mail({ to, ...fields }))
  const fateOf = async (id: string, timeoutMs = PATIENCE_MS): Promise<Fate> => {
    const message = await untilEnded(api, id, timeoutMs)
    const [attempts, events] = await Promise.all([readAttempts(api, id), eventTypes(api, id)])
    return { message, recipient: message.recipients[0]!, attempts, events }
  }
  return {
    valija,
    post: send,
    fateOf,
    send: async (to, fields) => fateOf(await send(to, fields)),
    tried: (id, count = 1, timeoutMs = PATIENCE_MS) =>
      until(
        `${count} attempts of ${id}`,
        async () => {
          const attempts = await readAttempts(api, id)
          return attempts.length >= count && attempts
        },
        timeoutMs,
      ),
    recipientOf: async (id) => (await readMessage(api, id)).recipients[0]!,
    hasten: async (id) => {
      const uuid = id.replace(/^msg_/, '')
      await valija.sql(
        `UPDATE valija.deliveries SET due_at = now() WHERE message_id = $1 AND state = 'waiting'`,
        [uuid],
      )
      await valija.sql(`SELECT pg_notify('valija_wake', 'dispatch:')`)
    },
    isSuppressed: async (email) => {
      const answer = await api<{ data: unknown[] }>('GET', `/suppressions?email=${encodeURIComponent(email)}`)
      return expectStatus(answer, 200).json.data.length > 0
    },
  }
}
