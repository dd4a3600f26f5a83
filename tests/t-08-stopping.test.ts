/** SIGTERM under load: what is begun is ended, what is accepted is delivered by others, and the process ends with 0. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { client } from './support/http.ts'
import { allEnded, countEach, post, readAttempts, readMessage, untilEnded } from './support/message-life.ts'
import { after as answerAfter, type SmtpPeer, silence, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { queueBackends, startValija, type Valija } from './support/valija.ts'

/** Between two mails of a lane: the load is there to be interrupted, not to fill the machine. */
const PAUSE_MS = 40

describe.each(queueBackends())('with the queue in $queue', ({ queue, isAbsent }) => {
  if (isAbsent) return test.skip('needs redis-server')
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ apis: 2, workers: 2, queue, delivery: 'smarthost', smarthost: peer })
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  test('an API and a worker that are stopped under load end with 0 and lose nothing; each accepted mail arrives once, at its first try', async () => {
    peer.script = { body: () => answerAfter(100, '250 2.0.0 taken') }
    const accepted: string[] = []
    let isLoaded = true
    const load = async (url: string, lane: number) => {
      const call = client(url, valija.tenantKey)
      for (let count = 0; isLoaded; count += 1) {
        const to = `l${lane}n${count}@${new URL(url).port}.test`
        // A process that has ended refuses the connection; one that is ending may say 503.
        const answer = await call<{ id: string }>('POST', '/send', valija.mail({ to })).catch(() => null)
        if (answer?.status === 202) accepted.push(answer.json.id)
        else if (answer === null) return
        await delay(PAUSE_MS)
      }
    }
    const lanes = valija.urls.flatMap((url) => [1, 2, 3].map((lane) => load(url, lane)))
    await peer.received(60)
    const [stoppedApi, stoppedWorker] = [valija.apis[1]!, valija.workers[0]!]
    const ends = await Promise.all([stoppedApi.stop(30_000), stoppedWorker.stop(30_000)])
    isLoaded = false
    await Promise.all(lanes)

    expect(ends).toEqual(Array(2).fill({ code: 0, signal: null }))
    const messages = await allEnded(valija.api, accepted)
    expect(countEach(messages.map(({ status }) => status))).toEqual(new Map([['delivered', accepted.length]]))
    expect(new Set(messages.map(({ recipients }) => recipients[0]!.attempts))).toEqual(new Set([1]))
    const counts = countEach(peer.mails.flatMap(({ to }) => to))
    expect(Math.max(...counts.values())).toBe(1)
    expect(counts.size).toBeGreaterThanOrEqual(accepted.length)
  }, 120_000)

  test('a conversation past DATA is waited for, and its result is on record', async () => {
    const worker = valija.workers[1]!
    let isInData = false
    peer.script = {
      body: ({ to }) => {
        if (to[0] !== 'slow@example.org') return undefined
        isInData = true
        return answerAfter(2_500, '250 2.0.0 taken at last')
      },
    }
    const id = await post(valija.api, valija.mail({ to: 'slow@example.org' }))
    await until('the body at the peer', () => isInData)
    expect(await worker.stop()).toEqual({ code: 0, signal: null })
    expect(await readMessage(valija.api, id)).toMatchObject({
      status: 'delivered',
      recipients: [{ attempts: 1, reply: '250 2.0.0 taken at last' }],
    })
    expect(peer.mails.filter(({ to }) => to[0] === 'slow@example.org')).toHaveLength(1)
  }, 60_000)

  test('a second signal hurries a worker that waits for a silent peer, whatever VALIJA_DRAIN_LIMIT allows, and the mail is tried again', async () => {
    const worker = await valija.addWorker({ VALIJA_DRAIN_LIMIT: '10m' })
    let isInData = false
    peer.script = {
      body: ({ to }) => {
        if (to[0] !== 'silent@example.org') return undefined
        isInData = true
        return silence()
      },
    }
    const id = await post(valija.api, valija.mail({ to: 'silent@example.org' }))
    await until('the body at the peer', () => isInData)
    const startedAtMs = performance.now()
    worker.signal('SIGTERM')
    expect(await worker.line('stopping')).toContain('"limitMs":600000')
    await delay(1_100) // signals within a second count as one
    worker.signal('SIGTERM')
    await worker.ended
    expect(performance.now() - startedAtMs).toBeLessThan(15_000)

    peer.script = {}
    await valija.sql(`UPDATE valija.deliveries SET due_at = now(), leased_until = least(leased_until, now())`)
    await valija.addWorker()
    expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
    expect((await readAttempts(valija.api, id)).at(-1)).toMatchObject({ outcome: 'delivered' })
  }, 120_000)
})
