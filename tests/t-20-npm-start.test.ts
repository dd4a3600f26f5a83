/** `npm start` from the first time to a kill -9 and back: one folder lives through it all, so the tests run in order. */
import { chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { post, readMessage, untilEnded } from './support/message-life.ts'
import { type DevFile, processesOf, runStart, type Started, startAll } from './support/npm-start.ts'
import { freePort } from './support/ports.ts'
import { type Running, startApp } from './support/processes.ts'
import { handOver, mailWith, openLoggedIn } from './support/submission.ts'
import { needsEnterableCheckout, until } from './support/until.ts'

const MAIL = { from: 'Acme <hi@acme.test>', to: 'ann@example.org', subject: 'Hello', text: 'It works.' }
const LIMIT_MS = 120_000

type Inbox = { data: { subject: string; rcpt_to: string[] }[] }

let root: string
beforeAll(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'valija-start-'))
})
afterAll(() => rm(root, { recursive: true, force: true, maxRetries: 5 }))

const subjects = async ({ call }: Started) =>
  (await call<Inbox>('GET', '/inbox')).json.data.map(({ subject }) => subject)

/** What a refused start says: its sentences on standard error, and nothing that looks like a crash. */
async function refusal(starting: Running): Promise<string> {
  expect(await starting.ended).toEqual({ code: 1, signal: null })
  expect(starting.lines.filter((line) => /^\s+at /.test(line))).toEqual([])
  const from = starting.lines.findIndex((line) => line.startsWith('valija: '))
  expect(starting.lines.filter((line) => line.startsWith('valija: '))).toHaveLength(1)
  return starting.lines.slice(from).join('\n')
}

describe('npm start, again and again in one folder', () => {
  let folder: string
  let started: Started
  let first: DevFile

  beforeAll(async () => {
    folder = path.join(root, 'life')
    started = await startAll(folder)
    first = started.dev
  }, LIMIT_MS)
  afterAll(() => started?.process.kill())

  test('says when it is ready, and dev.json holds what the ready line shows, for its owner only', async () => {
    const line = await started.process.line(/^valija ready/)
    expect(line).toContain(first.url)
    const output = started.process.lines.join('\n')
    expect(output).toContain(first.apiKey)
    expect(output).toMatch(/curl .*\/send/)
    expect((await stat(path.join(folder, 'dev.json'))).mode & 0o777).toBe(0o600)
    expect((await stat(path.join(folder, 'secrets.json'))).mode & 0o777).toBe(0o600)
    expect(first).toEqual({
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      apiKey: expect.stringMatching(/^vlj_/),
      adminKey: expect.any(String),
      smtp: { host: '127.0.0.1', port: expect.any(Number), user: 'valija', pass: first.apiKey },
      bounceSmtp: { host: '127.0.0.1', port: expect.any(Number) },
      databaseUrl: expect.stringMatching(/^postgres/),
      pid: expect.any(Number),
    })
    expect(() => process.kill(first.pid, 0)).not.toThrow()
  })

  test('the first mail is delivered to the inbox, from any domain', async () => {
    const waiting = started.call<Inbox>('GET', '/inbox?to=ann@example.org&wait=20s')
    const id = await post(started.call, MAIL)
    expect((await waiting).json.data).toMatchObject([{ subject: 'Hello', rcpt_to: ['ann@example.org'] }])
    expect(await untilEnded(started.call, id)).toMatchObject({ status: 'delivered' })
  })

  test('mail is handed in over SMTP with what dev.json says', async () => {
    const { port, pass } = first.smtp as { port: number; pass: string }
    const client = await openLoggedIn(port, pass)
    const reply = await handOver(client, mailWith(), { to: 'smtp@example.org' })
    client.end()
    expect(reply).toMatch(/^250 2\.6\.0 Accepted as msg_/)
    const found = await started.call<Inbox>('GET', '/inbox?to=smtp@example.org&wait=20s')
    expect(found.json.data).toMatchObject([{ subject: 'Hello', rcpt_to: ['smtp@example.org'] }])
  })

  test('valija explain and valija why find the running instance by the data folder, and refuse what they do not know in a sentence', async () => {
    const id = await post(started.call, { ...MAIL, to: 'bounced@simulator.valija.test' })
    await untilEnded(started.call, id)
    const told = startApp('explain', { VALIJA_DATA_DIR: folder }, [id])
    expect(await told.ended).toEqual({ code: 0, signal: null })
    expect(told.lines.join('\n')).toMatch(/^bounced@simulator\.valija\.test {2}bounced\n[\s\S]*\[simulated\]/)
    const why = startApp('why', { VALIJA_DATA_DIR: folder }, ['Bounced@simulator.valija.test'])
    expect(await why.ended).toEqual({ code: 0, signal: null })
    expect(why.lines.join('\n')).toMatch(new RegExp(`^\\S+Z {2}bounced {2}${id} {2}\\S`, 'm'))
    const unknown = startApp('explain', { VALIJA_DATA_DIR: folder }, ['msg_0192f0c1a2b37c4d8e5f60718293a4b5'])
    expect(await refusal(unknown)).toMatch(/^valija: There is no such message\./)
    const nowhere = startApp('explain', { VALIJA_DATA_DIR: path.join(root, 'nothing-here') }, [id])
    expect(await refusal(nowhere)).toMatch(/^valija: No "npm start" runs in .*--url/)
  })

  test('a second start in the same folder is refused in a sentence, and the first goes on', async () => {
    // On the same port as well, where a start that was killed through npm has left its process.
    for (const port of [await freePort(), new URL(first.url).port]) {
      const text = await refusal(await runStart(folder, { PORT: `${port}` }, { isBare: true }))
      expect(text).toMatch(new RegExp(`runs in ${folder} already \\(process ${first.pid}\\)`))
    }
    expect((await started.call('GET', '/readyz')).status).toBe(200)
    expect(await subjects(started)).toEqual(['Hello', 'Hello'])
  })

  test('a second start on the same port is refused in a sentence, and the first goes on', async () => {
    const { port } = new URL(first.url)
    const other = path.join(root, 'other')
    expect(await refusal(await runStart(other, { PORT: port }, { isBare: true }))).toMatch(
      new RegExp(`Port ${port} .*taken.*PORT`),
    )
    expect((await started.call('GET', '/readyz')).status).toBe(200)
    expect(await processesOf(other)).toEqual([])
  })

  test('Ctrl-C, which comes twice under npm, drains quietly, exits 0 and leaves no process', async () => {
    // The terminal signals npm and what it runs; npm hands its own signal on.
    process.kill(-started.process.pid, 'SIGINT')
    process.kill(started.dev.pid, 'SIGINT')
    expect(await started.process.ended).toEqual({ code: 0, signal: null })
    expect(started.process.lines.join('\n')).not.toContain('hurrying')
    // PostgreSQL says so of each connection that its stop ends.
    expect(started.process.lines.filter((line) => line.includes('terminating connection'))).toEqual([])
    await until('no process left', async () => (await processesOf(folder)).length === 0)
  })

  test(
    'the next start finds the data and shows the same key',
    async () => {
      started = await startAll(folder)
      expect(started.dev.apiKey).toBe(first.apiKey)
      expect(started.dev.adminKey).toBe(first.adminKey)
      expect(await subjects(started)).toEqual(['Hello', 'Hello'])
    },
    LIMIT_MS,
  )

  test(
    'after a kill -9 of all of it, it starts again: the PostgreSQL that was left is stopped, and what was told is still true',
    async () => {
      const id = await post(started.call, { ...MAIL, subject: 'Before the kill' })
      await untilEnded(started.call, id)
      await started.process.kill()
      await until('the starter gone', () => {
        try {
          process.kill(started.dev.pid, 0)
          return false
        } catch {
          return true
        }
      })
      const left = await processesOf(folder)
      started = await startAll(folder)
      expect(await readMessage(started.call, id)).toMatchObject({ status: 'delivered' })
      expect(await subjects(started)).toEqual(expect.arrayContaining(['Hello', 'Before the kill']))
      const now = new Set(await processesOf(folder))
      expect(left.filter((process) => now.has(process))).toEqual([])
    },
    LIMIT_MS,
  )

  test('SIGTERM drains, exits 0 and leaves no process', async () => {
    process.kill(started.dev.pid, 'SIGTERM')
    expect(await started.process.ended).toEqual({ code: 0, signal: null })
    await until('no process left', async () => (await processesOf(folder)).length === 0)
  })

  test(
    'another VALIJA_SECRET_KEY than the one of the stored data is refused in a sentence, and leaves no process',
    async () => {
      const env = { VALIJA_SECRET_KEY: 'another-secret-key-0123456789' }
      expect(await refusal(await runStart(folder, env, { isBare: true }))).toMatch(/VALIJA_SECRET_KEY/)
      await until('no process left', async () => (await processesOf(folder)).length === 0)
    },
    LIMIT_MS,
  )
})

describe('a start that cannot succeed says why in a sentence, and exits with 1', () => {
  test.concurrent('in a folder that cannot be written', async () => {
    const file = path.join(root, 'a-file')
    await writeFile(file, '')
    const folder = path.join(file, 'data')
    const text = await refusal(await runStart(folder, {}, { isBare: true }))
    expect(text).toContain(folder)
    expect(text).toContain('VALIJA_DATA_DIR')
  })

  test.concurrent('with bad and unknown variables, which are all named at once', async () => {
    const env = { VALIJA_DELIVERY: 'pigeon', VALIJA_RETRY_SCHEDUL: '1s', PORT: '99999' }
    const text = await refusal(await runStart(path.join(root, 'bad'), env, { isBare: true }))
    expect(text).toMatch(/VALIJA_DELIVERY: .*capture, smarthost, mx/)
    expect(text).toMatch(/VALIJA_RETRY_SCHEDUL: .*VALIJA_RETRY_SCHEDULE/)
    expect(text).toMatch(/PORT: /)
    expect(text.split('\n')).toHaveLength(4)
  })
})

test.skipIf(needsEnterableCheckout())(
  'an unprivileged user starts it too, from a folder that nobody else may enter, and the first mail arrives',
  async () => {
    const folder = path.join(root, 'private', 'data')
    await mkdir(path.dirname(folder), { mode: 0o700 })
    await chown(path.dirname(folder), 65534, 65534)
    // The folder above is the test's own.
    await chown(root, 65534, 65534)
    const started = await startAll(folder, { HOME: path.dirname(folder) }, { uid: 65534, isBare: true })
    try {
      const id = await post(started.call, MAIL)
      expect(await untilEnded(started.call, id)).toMatchObject({ status: 'delivered' })
      expect((await stat(path.join(folder, 'postgres'))).uid).toBe(65534)
    } finally {
      expect(await started.process.stop()).toEqual({ code: 0, signal: null })
      await chown(root, 0, 0)
    }
    await until('no process left', async () => (await processesOf(folder)).length === 0)
  },
  LIMIT_MS,
)
