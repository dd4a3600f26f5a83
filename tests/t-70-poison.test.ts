/**
 * Mails that end their worker (faults S5, S6): one that kills it, one that hangs it, and good mail that has part in it. Their
 * lives go on at once, each with a Valija of its own:
 *
 *   kills   hundreds of mails, and among them one of which every process dies that composes it
 *   hangs   the same with one of which every process hangs
 *   innocent   no such mail at all: somebody kills the worker three times; with the queue in PostgreSQL, and in Redis
 *
 * What a fault of ours would do is put into the workers from outside (support/poison-hook.ts). Instead of waiting 30 s for every
 * lease to run out, the tests turn the leases' clock on once their worker is gone.
 */
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startInternet } from './support/internet.ts'
import {
  countEach,
  eventTypes,
  inParallel,
  type MessageView,
  post,
  readAttempts,
  readEvents,
  untilEnded,
} from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { scaled, timeFor } from './support/scale.ts'
import { type SmtpPeer, silence } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { type Call, type QueueKind, queueBackends, startValija, type Valija } from './support/valija.ts'

const innocents = scaled(5_000, 100)
const hook = pathToFileURL(new URL('./support/poison-hook.ts', import.meta.url).pathname).href
const poisoned = { NODE_OPTIONS: `--import ${hook}` }
/** Two cells that die, and the suspects one after another, on a slow machine. */
const repairMs = timeFor(180_000)

type Life = {
  valija: Valija
  peer: SmtpPeer
  good: MessageView[]
  bad: MessageView | null
  /** What the worker that mended it wrote, and whether it lived. */
  rescuer: Running
  /** How the ones before it ended, as far as they had said that they are ready. */
  ends: (NodeJS.Signals | null)[]
  /** From the start of the rescuer to the end of the last mail. */
  tookMs: number
}

const closers: (() => Promise<void>)[] = []
const lives = new Map<string, Life>()
/** Each is killed with hints in hand, which its store has to give up. */
const innocentQueues = queueBackends().flatMap(({ queue, isAbsent }) => (isAbsent ? [] : [queue]))

/** Time passes: leases, hints and places at sites of whoever is gone run out at once. */
async function runOut({ sql }: Valija): Promise<void> {
  await sql(`UPDATE valija.deliveries SET leased_until = now() - interval '3 s' WHERE state = 'leased'`)
  await sql(`UPDATE valija.deliveries SET admitted_at = now() - interval '1 min' WHERE state = 'admitted'`)
  await sql('DELETE FROM valija.shaping_permits')
}

async function begin(queue: QueueKind): Promise<{ valija: Valija; peer: SmtpPeer }> {
  const internet = await startInternet()
  closers.push(() => internet.stop())
  const peer = await internet.site('good.test')
  // A site of its own, so that the bad mail never waits for the good ones.
  await internet.site('bad.test')
  const valija = await startValija({ workers: 0, queue, delivery: 'mx', internet })
  closers.push(() => valija.stop())
  return { valija, peer }
}

async function sendAll({ api, mail }: Valija, poison: string | null) {
  const subject = `An offer, poison: ${poison}`
  const good = await inParallel(innocents, 16, (index) => post(api, mail({ to: `ann${index}@good.test` })))
  const bad = poison === null ? null : await post(api, mail({ to: 'ann@bad.test', subject }))
  return { bad, good }
}

/** Three workers end with all mail in hand; none of it has been sent. */
async function endThreeWorkers(
  valija: Valija,
  peer: SmtpPeer,
  endOne: (env: Record<string, string>) => Promise<Running | null>,
): Promise<(Running | null)[]> {
  // Everything waits in the conversation before DATA, so no copy is under way when a worker goes.
  peer.script = { rcpt: silence() }
  const workers: (Running | null)[] = []
  for (let crash = 1; crash <= 3; crash += 1) {
    workers.push(await endOne(poisoned))
    await runOut(valija)
  }
  peer.script = {}
  return workers
}

async function live(
  poison: string | null,
  endOne: (valija: Valija, env: Record<string, string>) => Promise<Running | null>,
  queue: QueueKind = 'postgres',
): Promise<Life> {
  const { valija, peer } = await begin(queue)
  const ids = await sendAll(valija, poison)
  const gone = await endThreeWorkers(valija, peer, (env) => endOne(valija, env))
  peer.cut()
  const startedMs = performance.now()
  const rescuer = await valija.addWorker(poisoned)
  const ended = (id: string) => untilEnded(valija.api, id, repairMs)
  const bad = ids.bad === null ? null : await ended(ids.bad)
  const good = await inParallel(ids.good.length, 8, (index) => ended(ids.good[index]!))
  const tookMs = performance.now() - startedMs
  const ends = await Promise.all(
    gone.filter((worker) => worker !== null).map(async ({ ended }) => (await ended).signal),
  )
  return { valija, peer, good, bad, rescuer, ends, tookMs }
}

/** It may end before it says that it is ready. */
async function dieOfPoison(valija: Valija, env: Record<string, string>): Promise<Running | null> {
  const worker = await valija.addWorker(env).catch(() => null)
  await worker?.ended
  return worker
}

async function hang(valija: Valija, env: Record<string, string>): Promise<Running> {
  const worker = await valija.addWorker(env)
  await worker.line('poison: the loop stands still', 60_000)
  return worker
}

/** More than its site takes at once: some are in conversation, the others wait in its line. */
const mailsInHand = 15

async function killWithMailInHand(valija: Valija, env: Record<string, string>): Promise<Running> {
  const worker = await valija.addWorker(env)
  const isInHand = async () => {
    const [row] = await valija.sql<{ leased: number }>(
      `SELECT count(*)::int AS leased FROM valija.deliveries WHERE state = 'leased' AND leased_until > now()`,
    )
    return row!.leased >= mailsInHand
  }
  await until('the worker has its hands full', isInHand)
  await worker.kill()
  return worker
}

beforeAll(async () => {
  await Promise.all(
    [
      { name: 'kills', life: live('kills', dieOfPoison) },
      { name: 'hangs', life: live('hangs', hang) },
      ...innocentQueues.map((queue) => ({
        name: `innocent, ${queue}`,
        life: live(null, killWithMailInHand, queue),
      })),
    ].map(async ({ name, life }) => lives.set(name, await life)),
  )
}, timeFor(360_000))

afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

async function explain(call: Call, id: string) {
  type Explained = { recipients: { summary: string; because: { kind: string }[]; remedy: string }[] }
  return (await call<Explained>('GET', `/messages/${id}/explain`)).json.recipients[0]!
}

describe.each(['kills', 'hangs'])('a mail that %s every process that composes it', (name) => {
  const life = () => lives.get(name)!

  test('is given up as internal, with an attempt, an event and an explanation that say why', async () => {
    const { valija, bad } = life()
    expect(bad).toMatchObject({ status: 'failed', recipients: [{ reason: 'internal', attempts: 1 }] })
    const [attempt, ...more] = await readAttempts(valija.api, bad!.id)
    expect(more).toEqual([])
    expect(attempt).toMatchObject({ number: 1, outcome: 'failed', reason: 'internal', uncertain: false })
    expect(attempt!.reply).toMatch(/3 processes in a row died or hung/)
    const failed = (await readEvents(valija.api, bad!.id)).at(-1)!
    expect(failed).toMatchObject({ type: 'message.failed', data: { reason: 'internal' } })
    const told = await explain(valija.api, bad!.id)
    expect(told.because[0]!.kind).toBe('crashed_workers')
    expect(told.remedy).toMatch(/Tell the operator/)
  })

  test('raises an alarm: an error in the log, and a number in the metrics of every API process', async () => {
    const { valija, rescuer, bad } = life()
    const line = JSON.parse(await rescuer.line('poison message')) as Record<string, unknown>
    expect(line).toMatchObject({ level: 'error', message: bad!.id, crashes: 3 })
    const metric = async () =>
      /^valija_poison_given_up\S* 1$/m.test(await (await fetch(`${valija.url}/metrics`)).text())
    await until('the metric', metric)
  })

  test('costs no other mail anything but time: each arrives exactly once, at its first attempt', () => {
    const { good, peer } = life()
    expect(countEach(good.map(({ status }) => status))).toEqual(new Map([['delivered', innocents]]))
    expect(new Set(good.map(({ recipients }) => recipients[0]!.attempts))).toEqual(new Set([1]))
    const copies = countEach(peer.mails.map(({ to }) => to[0]!))
    expect(copies.size).toBe(innocents)
    expect(new Set(copies.values())).toEqual(new Set([1]))
  })

  test('ends nothing after the third worker but processes of its own: the fourth goes on', async () => {
    const { rescuer, valija, ends } = life()
    // A hung worker is ended by its own watchdog.
    const other = ends.filter((signal) => signal !== (name === 'kills' ? 'SIGABRT' : 'SIGALRM'))
    expect(other).toEqual([])
    const id = await post(valija.api, valija.mail({ to: 'later@good.test' }))
    expect((await untilEnded(valija.api, id)).status).toBe('delivered')
    expect(await rescuer.stop()).toEqual({ code: 0, signal: null })
  })
})

describe.each(innocentQueues)(
  'good mail whose workers were killed three times, with the queue in %s',
  (queue) => {
    test('is delivered, each exactly once, and none of it fails', async () => {
      const { valija, good, peer, tookMs } = lives.get(`innocent, ${queue}`)!
      expect(countEach(good.map(({ status }) => status))).toEqual(new Map([['delivered', innocents]]))
      expect(new Set(countEach(peer.mails.map(({ to }) => to[0]!)).values())).toEqual(new Set([1]))
      expect(await eventTypes(valija.api, good[0]!.id)).toEqual(['accepted', 'delivered'])
      process.stdout.write(
        `poison: ${innocents} innocent suspects (${queue}) were through after ${Math.round(tookMs)} ms\n`,
      )
    })
  },
)
