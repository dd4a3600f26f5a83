/**
 * A process that has as many files open as it may (EMFILE): it refuses what it has no place for, and neither ends nor spins nor fills
 * its log; when there are places again it goes on, and everything that was answered 202 arrives, once.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type MailGauge, startMailGauge } from './support/mail-gauge.ts'
import { allEnded, countEach, post, readAttempts, readMessage } from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

let gauge: MailGauge
let valija: Valija

beforeAll(async () => {
  gauge = await startMailGauge()
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: gauge })
}, 180_000)
afterAll(async () => {
  await valija?.stop()
  await gauge?.stop()
})

const openFiles = ({ pid }: Running) => readdirSync(`/proc/${pid}/fd`).length

/** How many files a running process may have open from now on; what is open stays. */
function limitFiles({ pid }: Running, count: number): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', `${pid}`, `--nofile=${count}:`])
  expect(status, `${stderr}`).toBe(0)
}

const plenty = 1_000

/** Seconds of the processor that a process has used. */
function processorS({ pid }: Running): number {
  const [, rest = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')
  const [user, system] = rest.split(' ').slice(11, 13).map(Number)
  return (user! + system!) / 100
}

/** Fails when the process has spun, or told the same again and again, for as long as the work took. */
async function inPeace(process: Running, work: () => Promise<void>): Promise<void> {
  const [startedMs, usedS, lines] = [performance.now(), processorS(process), process.lines.length]
  await work()
  const tookS = (performance.now() - startedMs) / 1_000
  // A loop without a wait uses all that it can get.
  expect(processorS(process) - usedS).toBeLessThan(1 + tookS / 5)
  const told = process.lines.slice(lines).filter((line) => /"level":"(?:error|warn|fatal)"/.test(line))
  expect(told.length, told.slice(0, 5).join('\n')).toBeLessThan(20 + 10 * tookS)
}

/** Ends all connections to the database but our own: whoever had one needs a new one. */
const cutDatabase = () =>
  valija.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name <> '' AND pid <> pg_backend_pid()`,
  )

/** Connections that say nothing, each opened anew when it is closed. */
function crowd(port: number, count: number) {
  const sockets = new Set<net.Socket>()
  let [isOver, closed] = [false, 0]
  const open = () => {
    const socket = net.connect(port, '127.0.0.1')
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      sockets.delete(socket)
      closed += 1
      if (!isOver) setTimeout(open, 20)
    })
  }
  for (let index = 0; index < count; index += 1) open()
  return {
    closed: () => closed,
    leave: () => {
      isOver = true
      for (const socket of sockets) socket.destroy()
    },
  }
}

test('an API without a free descriptor refuses connections, answers those that it has with 202 or 503, and goes on when there are some again', async () => {
  const [api] = valija.apis as [Running]
  const accepted: string[] = []
  const refusals: string[] = []
  const postTo = async (to: string) => {
    const answer = await valija.api<{ code?: string }>('POST', '/send', valija.mail({ to })).catch(() => null)
    if (answer?.status === 202) accepted.push(to)
    else
      refusals.push(
        answer === null
          ? 'refused'
          : `${answer.status} ${answer.headers.get('retry-after')} ${answer.json.code}`,
      )
  }
  await postTo('before@example.org')
  limitFiles(api, openFiles(api) + 10)
  const many = crowd(Number(new URL(valija.url).port), 40)
  await inPeace(api, async () => {
    await until('connections are refused', () => many.closed() > 20)
    for (let index = 0; index < 20; index += 1) await postTo(`full${index}@example.org`)
    await cutDatabase()
    for (let index = 0; index < 20; index += 1) {
      await postTo(`cut${index}@example.org`)
      await delay(25)
    }
  })
  many.leave()
  await until('it takes mail again', async () => {
    await postTo(`after${refusals.length}@example.org`)
    return accepted.at(-1)?.startsWith('after')
  })
  limitFiles(api, plenty)
  for (const refusal of refusals)
    expect(refusal).toMatch(/^refused|^503 [1-9]\d? (?:database_unavailable|overloaded)$/)
  process.stdout.write(`${accepted.length} accepted, ${JSON.stringify([...countEach(refusals)])}\n`)
  const arrived = () => gauge.mails.map(({ to }) => to)
  await until('all that was accepted', () => accepted.every((to) => arrived().includes(to)))
  const counts = countEach(arrived())
  expect(accepted.filter((to) => counts.get(to) !== 1)).toEqual([])
}, 120_000)

test('a worker without a free descriptor defers as by its own fault, blames neither site nor route, lives without its database, and goes on', async () => {
  const [worker] = valija.workers as [Running]
  gauge.hangUp()
  const ids: string[] = []
  limitFiles(worker, 3)
  await inPeace(worker, async () => {
    for (let index = 0; index < 5; index += 1)
      ids.push(await post(valija.api, valija.mail({ to: `w${index}@example.org` })))
    const first = await until('an attempt', async () => {
      const messages = await Promise.all(ids.map((id) => readMessage(valija.api, id)))
      return messages.find(({ status }) => status === 'deferred')
    })
    expect(first.recipients[0]).toMatchObject({ reason: 'internal', attempts: 1 })
    expect(first.recipients[0]!.reply).toContain('could open no connection (connect EMFILE')
    expect(await readAttempts(valija.api, first.id)).toMatchObject([{ phase: 'connect', host: '127.0.0.1' }])
    await cutDatabase()
    await delay(1_500)
  })
  limitFiles(worker, plenty)
  ids.push(await post(valija.api, valija.mail({ to: 'w5@example.org' })))
  for (const { status } of await allEnded(valija.api, ids)) expect(status).toBe('delivered')
  const counts = countEach(gauge.mails.map(({ to }) => to).filter((to) => to.startsWith('w')))
  expect([...counts].sort()).toEqual(ids.map((_, index) => [`w${index}@example.org`, 1]))
  // Nobody is told that the site or the relay has been away.
  expect(await valija.sql('SELECT FROM valija.events WHERE type LIKE $1', ['route.%'])).toEqual([])
}, 120_000)
