/**
 * Only one worker’s own way to Redis is cut, and it is the one that leads the dispatcher: it delivers by hand what it gives out, and
 * after 15 s lets the other lead, whose hints reach everybody (flows/hint-by-hand.ts, dispatch-deliveries.ts).
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type HalfOpenProxy, startHalfOpenProxy } from './support/half-open.ts'
import { allEnded, countEach, post } from './support/message-life.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

/** It leads alone for so long, then the standby sees that nobody does; the rest is for a slow machine. */
const YIELDED_MS = 15_000 + 2_000 + 8_000

describe.skipIf(needsProgram('redis-server'))('of two workers', () => {
  let peer: SmtpPeer
  let valija: Valija
  let proxy: HalfOpenProxy
  let first: number

  /** By the process of PostgreSQL that it holds the lock in; null while nobody leads. */
  const leader = async () => {
    const rows = await valija.sql<{ pid: number }>(
      `SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted
         AND datname = current_database() AND application_name = 'valija leader'`,
    )
    return rows[0]?.pid ?? null
  }

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ queue: 'redis', delivery: 'smarthost', smarthost: peer, workers: 0 })
    proxy = await startHalfOpenProxy(valija.redis!.port)
    await valija.addWorker({ REDIS_URL: `redis://127.0.0.1:${proxy.port}`, VALIJA_EHLO_NAME: 'cut.test' })
    first = await until('the first one to lead', leader)
    await valija.addWorker({ VALIJA_EHLO_NAME: 'whole.test' })
  })
  afterAll(async () => {
    await valija?.stop()
    await proxy?.stop()
    await peer?.stop()
  })

  test('the one that leads and has no queue delivers by hand, then lets the other lead: mail goes on all the time, each once', async () => {
    const ids: string[] = []
    // Not due at once: what is, an API hints by itself, past the dispatcher.
    const send = async () => {
      const sendAt = new Date(Date.now() + 200).toISOString()
      const to = `r${ids.length}@example.org`
      ids.push(await post(valija.api, valija.mail({ to, send_at: sendAt })))
    }
    const by = (name: string) => peer.mails.filter(({ helo }) => helo === name).length
    await proxy.stop()
    const cutMs = performance.now()
    // On a busy machine the other one may take over a mail that is 2 s overdue, without leading.
    const sendAnother = async () => {
      await send()
      await delay(250)
    }
    const isByHand = async () => {
      await sendAnother()
      return by('cut.test') > 0
    }
    await until('a mail delivered by hand', isByHand, 10_000)
    const isYielded = async () => {
      await sendAnother()
      return ![first, null].includes(await leader())
    }
    await until('the other one to lead', isYielded, YIELDED_MS)
    expect(performance.now() - cutMs).toBeGreaterThan(10_000)
    const before = by('whole.test')
    await send()
    await until('a mail by the other worker', () => by('whole.test') > before)
    const ended = await allEnded(valija.api, ids)
    expect(countEach(ended.map(({ status }) => status))).toEqual(new Map([['delivered', ids.length]]))
    const arrived = countEach(peer.mails.flatMap(({ to }) => to))
    expect([arrived.size, Math.max(...arrived.values())]).toEqual([ids.length, 1])
    const [slowest] = await valija.sql<{ seconds: number }>(
      `SELECT extract(epoch FROM max(r.delivered_at - m.created_at))::float8 AS seconds
       FROM valija.recipients AS r JOIN valija.messages AS m ON m.id = r.message_id`,
    )
    expect(slowest!.seconds).toBeLessThan(8)
  })
})
