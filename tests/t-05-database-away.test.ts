/**
 * PostgreSQL goes away and comes back: no 2xx without a commit, no mail lost or sent twice, no process to restart. In the long
 * form for a minute under load (N18), in which leases run out.
 */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Answer } from './support/http.ts'
import { allEnded, countEach, inParallel } from './support/message-life.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { queueBackends, startValija, type Valija } from './support/valija.ts'

/** How long it is away while clients go on asking. */
const AWAY_MS = scaled(60_000, 1)
/** N18: what may pass between its return and everything being as before. */
const RECOVERY_MS = 30_000

/** The database admits nobody any more, and throws out who is in it. */
async function administer(databaseUrl: string, isOpen: boolean): Promise<void> {
  const name = new URL(databaseUrl).pathname.slice(1)
  const client = new pg.Client(inject('clusterUrl'))
  await client.connect()
  await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${isOpen}`)
  if (!isOpen)
    await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name])
  await client.end()
}

type Accepted = { id: string; code?: string }

describe.each(queueBackends())('with the queue in $queue', ({ queue, isAbsent }) => {
  if (isAbsent) return test.skip('needs redis-server')
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ queue, delivery: 'smarthost', smarthost: peer })
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  test(
    'while PostgreSQL is away a send is 503 with Retry-After, and what was accepted before and after arrives once',
    async () => {
      // Results come in while nobody can write them down.
      peer.script = { body: () => after(300, '250 2.0.0 taken') }
      const answers: Answer<Accepted>[] = []
      const send = async () => {
        const answer = await valija.api<Accepted>(
          'POST',
          '/send',
          valija.mail({ to: `r${answers.length}@example.org` }),
        )
        answers.push(answer)
        return answer
      }
      await inParallel(60, 10, send)
      await peer.received(5)
      await administer(valija.databaseUrl, false)

      const during = await inParallel(20, 4, send)
      expect(during.map(({ status }) => status)).toEqual(Array(20).fill(503))
      for (const { headers, json } of during) {
        expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
        expect(json.code).toBe('database_unavailable')
      }
      const readyz = await valija.api<{ status: string }>('GET', '/readyz')
      expect([readyz.status, readyz.json.status]).toEqual([503, 'not_ready'])
      expect((await valija.api('GET', '/healthz')).status).toBe(200)

      for (const end = performance.now() + AWAY_MS; performance.now() < end; await delay(100))
        expect((await send()).status).toBe(503)
      await administer(valija.databaseUrl, true)
      const backAt = performance.now()
      await until('a send succeeds again', async () => (await send()).status === 202, RECOVERY_MS)
      const sentAfterMs = performance.now() - backAt
      peer.script = {}
      const accepted = answers.filter(({ status }) => status === 202).map(({ json }) => json.id)
      const stored = await valija.sql<{ id: string }>('SELECT id FROM valija.messages')
      expect(stored.map(({ id }) => `msg_${id.replaceAll('-', '')}`).sort()).toEqual([...accepted].sort())
      const ended = await allEnded(valija.api, accepted, RECOVERY_MS)
      expect(new Set(ended.map(({ status }) => status))).toEqual(new Set(['delivered']))
      const counts = countEach(peer.mails.map(({ text }) => /^Message-ID: (.*)\r$/im.exec(text)![1]!))
      expect(counts.size).toBe(accepted.length)
      expect(Math.max(...counts.values())).toBe(1)
      const endedAfterMs = performance.now() - backAt
      const text = `away for ${AWAY_MS} ms: the first 202 after ${sentAfterMs.toFixed(0)} ms, all ${accepted.length} mails ended after ${endedAfterMs.toFixed(0)} ms`
      if (isLong) process.stdout.write(`${text}\n`)
      expect(endedAfterMs, text).toBeLessThan(RECOVERY_MS)
    },
    timeFor(120_000),
  )
})
