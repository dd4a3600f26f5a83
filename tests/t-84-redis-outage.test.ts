/**
 * What Redis may do to a large backlog: lose all of it, and be gone for a minute. N4 and N18 of the numbers that are promised;
 * `npm run soak -- redis-outage` is the long form, with 10,000 mails and 60 s.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countEach, inParallel, post } from './support/message-life.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { keepPosting } from './support/steady-mail.ts'
import { needsProgram, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

const QUEUED = scaled(10_000, 500)
const PER_MESSAGE = 50
const AWAY_MS = scaled(60_000, 5_000)

describe.skipIf(needsProgram('redis-server'))('a large backlog', () => {
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({
      apis: 2,
      workers: 2,
      queue: 'redis',
      delivery: 'smarthost',
      smarthost: peer,
    })
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  const untilNothingIsLeft = (timeoutMs: number) =>
    until(
      'the end of every mail',
      async () => {
        const [row] = await valija.sql<{ count: number }>(
          'SELECT count(*)::int AS count FROM valija.deliveries',
        )
        return row?.count === 0
      },
      timeoutMs,
    )

  test(
    `FLUSHALL with ${QUEUED} mails queued: work goes on within 60 s, and each arrives once`,
    async () => {
      for (const worker of valija.workers) worker.pause()
      await inParallel(QUEUED / PER_MESSAGE, 4, (message) => {
        const to = Array.from({ length: PER_MESSAGE }, (_, index) => `m${message}r${index}@flushed.test`)
        return post(valija.api, valija.mail({ to }))
      })
      await valija.redis!.flushall()
      for (const worker of valija.workers) worker.resume()
      const resumedAtMs = performance.now()
      await peer.received(1, 60_000)
      const firstMs = performance.now() - resumedAtMs
      await untilNothingIsLeft(timeFor(60_000))
      const counts = countEach(peer.mails.flatMap(({ to }) => to))
      expect(counts.size).toBe(QUEUED)
      // Nothing was in a conversation at the flush, so nothing may come twice.
      expect(Math.max(...counts.values())).toBe(1)
      tell(
        `FLUSHALL: the first mail after ${firstMs.toFixed(0)} ms, all ${QUEUED} after ${since(resumedAtMs)}`,
      )
    },
    timeFor(120_000),
  )

  test(
    `Redis away for ${AWAY_MS / 1_000} s under traffic: delivery goes on, all is as before within 30 s of its return, none is lost`,
    async () => {
      const mail = keepPosting(valija, peer, 'away')
      const before = peer.mails.length
      await until('mail that flows', () => peer.mails.length > before + 10, 20_000)
      await valija.redis!.kill()
      await delay(AWAY_MS)
      const whileAway = mail.accepted.length
      expect(peer.mails.length - before).toBeGreaterThan(whileAway / 2)
      await valija.redis!.restart()
      const returnedAtMs = performance.now()
      const isReady = async () =>
        (await valija.api<{ status: string }>('GET', '/readyz')).json.status === 'ready'
      await until('ready again', isReady, 30_000)
      const readyAfter = since(returnedAtMs)
      const { count, longestMs } = await mail.untilAllArrivedOnce(30_000)
      for (const { pid } of [...valija.apis, ...valija.workers]) expect(process.kill(pid, 0)).toBe(true)
      tell(
        `away for ${AWAY_MS} ms: ready ${readyAfter} after its return; ${count} mails, the slowest took ${longestMs} ms`,
      )
    },
    timeFor(120_000),
  )
})

const since = (fromMs: number) => `${(performance.now() - fromMs).toFixed(0)} ms`

/** The figures, in the long form. */
function tell(text: string): void {
  if (isLong) process.stdout.write(`${text}\n`)
}
