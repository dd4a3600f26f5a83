/**
 * A process that has as many files open as it may (EMFILE): it refuses what it has no place for, and neither ends nor spins nor fills
 * its log; when there are places again it goes on, and everything that was answered 202 arrives, once. A worker blames nobody else for
 * it: no relay (here one by name, whose lookup fails first), no exchangers or their DNS, no webhook's endpoint.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Internet, startInternet } from './support/internet.ts'
import { type MailGauge, startMailGauge } from './support/mail-gauge.ts'
import { allEnded, countEach, post, readAttempts, readMessage } from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { needsProgram, until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

let gauge: MailGauge
let internet: Internet
let endpoint: WebhookReceiver
let valija: Valija

async function begin(): Promise<void> {
  gauge = await startMailGauge()
  internet = await startInternet()
  endpoint = await startWebhookReceiver()
  valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
  const relay = { name: 'relay', kind: 'smarthost', host: 'localhost', port: gauge.port, tls: 'off' }
  const forTenant = { 'valija-tenant': valija.tenantId }
  expectStatus(await valija.admin('POST', '/routes', relay, forTenant), 201)
  const webhook = { url: endpoint.url, events: ['message.deferred'] }
  expectStatus(await valija.api('POST', '/webhooks', webhook), 201)
}

async function end(): Promise<void> {
  await valija?.stop()
  await Promise.all([gauge, internet, endpoint].map((one) => one?.stop()))
}

const byRelay = (to: string) => valija.mail({ to, route: 'relay' })

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

describe.skipIf(needsProgram('prlimit'))('as many files open as it may', () => {
  beforeAll(begin, 180_000)
  afterAll(end)

  test('an API without a free descriptor refuses connections, answers those that it has with 202 or 503, and goes on when there are some again', async () => {
    const [api] = valija.apis as [Running]
    const accepted: string[] = []
    const refusals: string[] = []
    const postTo = async (to: string) => {
      const answer = await valija.api<{ code?: string }>('POST', '/send', byRelay(to)).catch(() => null)
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

  test('a worker without a free descriptor defers as by its own fault, once, blames nobody else, lives without its database, and goes on', async () => {
    const [worker] = valija.workers as [Running]
    const warm = await internet.site('warm.test')
    const cold = await internet.site('cold.test')
    // Its exchanger is known, and no session to it is left.
    await allEnded(valija.api, [await post(valija.api, valija.mail({ to: 'first@warm.test' }))])
    gauge.hangUp()
    warm.cut()
    const mails = [
      byRelay('w@example.org'),
      valija.mail({ to: 'w@warm.test' }),
      valija.mail({ to: 'w@cold.test' }),
    ]
    const ids: string[] = []
    /** In one look: each is in hand for a moment with every try. */
    const allDeferred = () =>
      until('each is put off', async () => {
        const messages = await Promise.all(ids.map((id) => readMessage(valija.api, id)))
        const recipients = messages.map((message) => message.recipients[0]!)
        return recipients.every(({ status }) => status === 'deferred') && recipients
      })
    limitFiles(worker, 3)
    await inPeace(worker, async () => {
      for (const mail of mails) ids.push(await post(valija.api, mail))
      await allDeferred()
      // One more try at least, which is not told.
      await delay(2_500)
      for (const recipient of await allDeferred()) {
        expect(recipient).toMatchObject({ reason: 'internal', attempts: 1 })
        expect(recipient.reply).toContain('this worker could open no connection (')
      }
      const rows = await valija.sql<{ hold: string | null; steps: number }>(
        'SELECT hold, retry_steps AS steps FROM valija.deliveries',
      )
      expect(rows).toEqual(mails.map(() => ({ hold: null, steps: 0 })))
      const [relayed] = await readAttempts(valija.api, ids[0]!)
      expect(relayed).toMatchObject({ phase: 'dns', host: 'localhost' })
      const [direct] = await readAttempts(valija.api, ids[1]!)
      expect(direct).toMatchObject({ phase: 'connect', host: 'mx.warm.test' })
      expect(direct!.reply).toContain('connect EMFILE')
      const [unasked] = await readAttempts(valija.api, ids.at(-1)!)
      expect(unasked).toMatchObject({ phase: 'dns', host: null })
      await cutDatabase()
      await delay(1_000)
    })
    limitFiles(worker, plenty)
    for (const { status } of await allEnded(valija.api, ids)) expect(status).toBe('delivered')
    const byName = gauge.mails.map(({ to }) => to).filter((to) => to.startsWith('w'))
    expect(byName.sort()).toEqual(['w@example.org'])
    for (const peer of [warm, cold]) {
      const arrived = peer.mails.map(({ to }) => to[0]!.split('@')[0]!).filter((name) => name !== 'first')
      expect(arrived.sort()).toEqual(['w'])
    }
    // Nobody is told that the site or the relay has been away; and the endpoint hears of each deferral, in a first try.
    expect(await valija.sql('SELECT FROM valija.events WHERE type LIKE $1', ['route.%'])).toEqual([])
    await endpoint.received(mails.length)
    await until(
      'each is settled',
      async () => (await valija.sql('SELECT FROM valija.webhook_outbox')).length === 0,
    )
    const tries = await valija.sql('SELECT outcome, number FROM valija.webhook_tries')
    expect(tries).toEqual(mails.map(() => ({ outcome: 'delivered', number: 1 })))
  }, 120_000)
})
