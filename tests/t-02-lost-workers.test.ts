/**
 * One bad minute, on both queues at once: a worker is killed, another one stopped in the middle of a conversation, an API process
 * is killed between its commit and its hint. What repairs all of it is a lease that ends after 30 s, so the accidents share one wait.
 *
 *   worker A   waits for the answer to DATA (to before@), then gets SIGKILL as soon as a second mail's final dot is out (to after@)
 *   worker C   gets SIGSTOP before the answer to DATA (to paused@) reaches it, and SIGCONT when others have done its work
 *   API 2      answers 202 (to unhinted@) while the queue's store is mute, and gets SIGKILL before the store speaks again
 *   worker B   starts last, and finds it all
 */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventTypes, type MessageView, post, readAttempts, untilEnded } from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { type ReceivedMail, type SmtpPeer, silence, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { type QueueKind, queueBackends, startValija, type Valija } from './support/valija.ts'

/** A lease of 30 s, the sweep every 2 s, a standby's look every 5 s, and a slow machine. */
const REPAIR_MS = 75_000

type Minute = {
  peer: SmtpPeer
  valija: Valija
  ids: Record<'before' | 'after' | 'paused' | 'unhinted', string>
  messages: Record<'before' | 'after' | 'paused' | 'unhinted', MessageView>
  stopped: Running
  arrived: (name: string) => ReceivedMail[]
}

const backends = queueBackends().filter(({ isAbsent }) => !isAbsent)
const minutes = new Map<string, Minute>()
const closers: (() => Promise<void>)[] = []

/** Kills the worker while one mail waits for DATA's answer and the other's final dot has no reply yet. */
async function killWorkerInConversation(valija: Valija, peer: SmtpPeer) {
  const worker = valija.workers[0]!
  let waitsForData = false
  peer.script = {
    data: ({ to }) => {
      if (!to[0]?.startsWith('before@')) return undefined
      waitsForData = true
      return silence()
    },
    // The peer has taken the mail, and nobody is left to hear so.
    body: ({ to }) => {
      if (to[0]?.startsWith('after@')) void worker.kill()
      return undefined
    },
  }
  const before = await post(valija.api, valija.mail({ to: 'before@example.org' }))
  await until('the first mail at DATA', () => waitsForData)
  const after = await post(valija.api, valija.mail({ to: 'after@example.org' }))
  await worker.ended
  peer.script = {}
  return { before, after }
}

/** Stops the worker after its DATA and before the answer, which then waits in its socket. */
async function stopWorkerBeforeData(valija: Valija, peer: SmtpPeer) {
  const stopped = await valija.addWorker({ VALIJA_EHLO_NAME: 'stopped.test' })
  let isStopped = false
  peer.script = {
    data: ({ to }) => {
      if (!isStopped && to[0]?.startsWith('paused@')) {
        isStopped = true
        stopped.pause()
      }
      return undefined
    },
  }
  const paused = await post(valija.api, valija.mail({ to: 'paused@example.org' }))
  await until('the worker stopped at DATA', () => isStopped)
  return { paused, stopped }
}

/** The queue in PostgreSQL goes mute: whoever adds waits for a lock. Ends with all who wait thrown out. */
async function muteQueueTable(databaseUrl: string): Promise<() => Promise<void>> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  await client.query('BEGIN; LOCK TABLE bullmq.job IN ACCESS EXCLUSIVE MODE')
  return async () => {
    await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~* 'bullmq|job'`,
    )
    await client.query('ROLLBACK')
    await client.end()
  }
}

/** Redis goes mute, and loses what was on its way to it: its sockets end with it. */
async function muteRedis({ redis }: Valija): Promise<() => Promise<void>> {
  redis!.pause()
  return () => redis!.restart()
}

/** A 202 is out, and the hint is not: the process that would have given it is dead. */
async function killApiBeforeHint(valija: Valija) {
  const { call, process } = await valija.addApi()
  const unmute = valija.redis ? await muteRedis(valija) : await muteQueueTable(valija.databaseUrl)
  const unhinted = await post(call, valija.mail({ to: 'unhinted@example.org' }))
  await process.kill()
  await unmute()
  return unhinted
}

async function liveThrough(queue: QueueKind): Promise<Minute> {
  const peer = await startSmtpPeer()
  closers.push(() => peer.stop())
  const valija = await startValija({ queue, delivery: 'smarthost', smarthost: peer })
  closers.push(() => valija.stop())
  const { before, after } = await killWorkerInConversation(valija, peer)
  const { paused, stopped } = await stopWorkerBeforeData(valija, peer)
  const unhinted = await killApiBeforeHint(valija)
  await valija.addWorker({ VALIJA_EHLO_NAME: 'rescuer.test' })
  const ids = { before, after, paused, unhinted }
  const ended = async (id: string) => untilEnded(valija.api, id, REPAIR_MS)
  const [unhintedMessage, ...others] = await Promise.all([unhinted, before, after, paused].map(ended))
  const messages = { unhinted: unhintedMessage!, before: others[0]!, after: others[1]!, paused: others[2]! }
  const arrived = (name: string) => peer.mails.filter(({ to }) => to[0] === `${name}@example.org`)
  return { peer, valija, ids, messages, stopped, arrived }
}

beforeAll(async () => {
  const lived = await Promise.all(
    backends.map(async ({ queue }) => [queue, await liveThrough(queue)] as const),
  )
  for (const [queue, minute] of lived) minutes.set(queue, minute)
}, 150_000)

afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

describe.each(backends)('with the queue in $queue', ({ queue }) => {
  const minute = () => minutes.get(queue)!

  test('a mail whose worker was killed before DATA arrives once, by another worker', () => {
    const { arrived, messages } = minute()
    expect(messages.before.status).toBe('delivered')
    expect(arrived('before').map(({ helo }) => helo)).toEqual(['rescuer.test'])
  })

  test('a mail whose worker was killed between the final dot and the reply arrives at most twice, with the same bytes', () => {
    const { arrived, messages } = minute()
    expect(messages.after.status).toBe('delivered')
    const [first, second, ...more] = arrived('after')
    expect(more).toEqual([])
    expect(second!.raw.equals(first!.raw)).toBe(true)
    expect(first!.text).toContain(messages.after.rfc_message_id)
  })

  test('a mail that was accepted and never hinted arrives within about 35 s, though no worker ran at the time', async () => {
    const { valija, ids, messages, arrived } = minute()
    expect(messages.unhinted).toMatchObject({ status: 'delivered', recipients: [{ attempts: 1 }] })
    expect(arrived('unhinted')).toHaveLength(1)
    const [waited] = await valija.sql<{ seconds: number }>(
      `SELECT extract(epoch FROM r.delivered_at - m.created_at)::float8 AS seconds
       FROM valija.recipients AS r JOIN valija.messages AS m ON m.id = r.message_id WHERE r.email = $1`,
      ['unhinted@example.org'],
    )
    expect(ids.unhinted).toMatch(/^msg_/)
    // 30 s until the hint counts as lost, 2 s until the sweep, and what a machine takes that is busy with more than this.
    expect(waited!.seconds).toBeLessThan(45)
    // And no sooner than a lost hint is found: otherwise it was hinted after all, and this proves nothing.
    expect(waited!.seconds).toBeGreaterThan(25)
  })

  test('a worker that was stopped beyond its lease sends nothing when it goes on: the mail arrives exactly once', async () => {
    const { valija, peer, stopped, messages, arrived, ids } = minute()
    expect(messages.paused.status).toBe('delivered')
    const sessions = peer.sessions()
    stopped.resume()
    // It takes part again: it drops the conversation in which it was stopped, and is asked to end in peace.
    expect(await stopped.stop()).toEqual({ code: 0, signal: null })
    expect(arrived('paused').map(({ helo }) => helo)).toEqual(['rescuer.test'])
    expect(peer.sessions()).toBe(sessions)
    expect(await eventTypes(valija.api, ids.paused)).toEqual(['accepted', 'delivered'])
    expect(await readAttempts(valija.api, ids.paused)).toHaveLength(1)
  })
})
