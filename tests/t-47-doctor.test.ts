/**
 * `valija doctor` as a process, and the readiness of `mx`: a world that is well, one in which all is wrong, and what is told of both. And `valija init`,
 * which ends with the same look: from an empty database to a domain that may send, over runs that each end before the way does.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createEmptyDatabase } from './support/database.ts'
import type { ZoneType } from './support/dns-server.ts'
import { type Internet, startInternet } from './support/internet.ts'
import { issueServer } from './support/issue-certificate.ts'
import { startAll } from './support/npm-start.ts'
import { startApp, startNode } from './support/processes.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, until } from './support/until.ts'
import { type Call, startValija, type Valija } from './support/valija.ts'

type Check = { name: string; subject: string | null; status: string; detail: string; fix: string | null }

const secret = {
  VALIJA_SECRET_KEY: 'a-secret-key-of-the-tests-0123456789',
  VALIJA_ADMIN_KEY: 'the-operators-key-of-the-tests',
}

/** Runs it with exactly this environment. */
async function doctor(env: Record<string, string>, args: string[] = []) {
  const running = startApp('doctor', env, ['--json', ...args])
  const { code } = await running.ended
  const { ok, checks } = JSON.parse(running.lines.join('\n')) as { ok: boolean; checks: Check[] }
  return { code, ok, checks }
}

type InitReport = {
  ok: boolean
  steps: { name: string; status: string; detail: string; fix?: string }[]
  tenant?: { id: string; key: string | null }
  domain?: { status: string; records: { type: ZoneType; name: string; value: string; status: string }[] }
  checks?: Check[]
  message_id?: string
}

/** Runs it in a folder, whose .env it reads and writes, with exactly this environment. */
async function init(cwd: string, env: Record<string, string>, args: string[] = []) {
  const running = startNode('apps/cli/src/main.ts', ['init', '--domain', 'first.test', ...args], { cwd, env })
  const { code } = await running.ended
  return { code, text: running.lines.join('\n') }
}

async function initReport(...[cwd, env, args = []]: Parameters<typeof init>) {
  const { code, text } = await init(cwd, env, [...args, '--json'])
  const report = JSON.parse(text) as InitReport
  return { ...report, code, text, came: report.steps.map(({ name, status }) => `${name} ${status}`) }
}

const find = (checks: readonly Check[], name: string, subject?: string) =>
  checks.find((check) => check.name === name && (subject === undefined || check.subject === subject))

/** What /readyz says once the resolver has been heard, or is known not to answer: it waits for that no longer than half a second. */
const readiness = (call: Call) =>
  until('a look at the resolver', async () => {
    type Readiness = { status: string; checks: { name: string; ok: boolean; detail: string }[] }
    const answer = await call<Readiness>('GET', '/readyz')
    return answer.json.checks.some(({ detail }) => detail.includes('No answer has come yet')) ? null : answer
  })

/** Tests' databases are fast and unsafe, and a machine of tests may be short of room: that is true, and nobody's fault. */
const ownFaults = ['durability', 'disk']

describe('a world that is well', () => {
  let internet: Internet
  let valija: Valija
  let peer: SmtpPeer
  let env: Record<string, string>
  beforeAll(async () => {
    internet = await startInternet()
    internet.dns.zone = {
      'mail.acme.test': { A: ['127.0.0.1'] },
      '127.0.0.1': { PTR: ['mail.acme.test'] },
      'ietf.org': { A: ['192.0.2.1'] },
      'bounce.acme.test': { MX: ['10 mail.acme.test'] },
      '2.0.0.127.zen.spamhaus.org': { A: ['127.0.0.2'] },
      'dbltest.com.dbl.spamhaus.org': { A: ['127.0.1.2'] },
    }
    internet.dns.signed.add('.')
    peer = await internet.exchanger('mx.big.test', { starttls: true })
    valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
    env = {
      ...secret,
      DATABASE_URL: valija.databaseUrl,
      VALIJA_DELIVERY: 'mx',
      VALIJA_DNS_SERVERS: internet.dns.address,
      VALIJA_MX_PORT: `${internet.port}`,
      VALIJA_BOUNCE_DOMAIN: 'bounce.acme.test',
      VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
      VALIJA_SOURCE_IPS: '127.0.0.1',
      VALIJA_EHLO_NAME: 'mail.acme.test',
    }
  })
  afterAll(async () => {
    await valija?.stop()
    await internet?.stop()
  })

  test('nothing failed, every check tells what it saw, and the exit code says so', async () => {
    const { code, ok, checks } = await doctor(env, ['--connect', 'mx.big.test'])
    const failed = checks.filter(({ status }) => status === 'failed')
    expect(failed.filter(({ name }) => !ownFaults.includes(name))).toEqual([])
    expect([ok, code]).toEqual(failed.length === 0 ? [true, 0] : [false, 1])
    for (const { detail, fix, status } of checks) {
      expect(detail).not.toBe('')
      expect(fix === null).toBe(status === 'ok' || status === 'skipped')
    }
    const well = [
      'database',
      'schema',
      'secret_key',
      'queue',
      'backlog',
      'resolver',
      'dnssec',
      'source_address',
    ]
    for (const name of [...well, 'ehlo_name', 'reverse_name', 'port_25', 'blocklist', 'bounce_domain']) {
      expect(find(checks, name)).toMatchObject({ name, status: 'ok' })
    }
  })

  test('nothing is said to a mail server but what opens a session', async () => {
    const said = peer.transcript.filter((line) => line.includes('<')).map((line) => line.split(' ')[1])
    expect(new Set(said)).toEqual(new Set(['EHLO', 'STARTTLS', 'QUIT']))
  })

  test('for people it is a line each, with a sum at the end', async () => {
    const running = startApp('doctor', env, ['--connect', `127.0.0.1:${peer.port}`])
    await running.ended
    const text = running.lines.join('\n')
    expect(text).toMatch(/^ok {4}ehlo_name mail\.acme\.test {2,}has the address 127\.0\.0\.1$/m)
    expect(text).toMatch(/^\d+ failed, \d+ to look at, \d+ ok, \d+ skipped$/m)
  })

  test('with capture what concerns receivers is skipped with the reason', async () => {
    const { checks } = await doctor({ ...env, VALIJA_DELIVERY: 'capture' })
    for (const name of ['resolver', 'ehlo_name', 'port_25', 'blocklist', 'bounce_domain']) {
      expect(find(checks, name)).toMatchObject({
        status: 'skipped',
        detail: expect.stringContaining('capture'),
      })
    }
    expect(find(checks, 'schema')).toMatchObject({ status: 'ok' })
  })

  test('with a relay its login is tried', async () => {
    const relay = await startSmtpPeer({ auth: { user: 'ann', pass: 'right' } })
    const through = (pass: string) =>
      doctor({
        ...env,
        VALIJA_DELIVERY: 'smarthost',
        VALIJA_SMARTHOST_URL: `smtp://ann:${pass}@127.0.0.1:${relay.port}`,
      })
    const [right, wrong] = [await through('right'), await through('wrong')]
    await relay.stop()
    expect(find(right.checks, 'smarthost')).toMatchObject({ status: 'ok' })
    expect(find(right.checks, 'port_25')).toMatchObject({
      status: 'skipped',
      detail: expect.stringContaining('relay'),
    })
    expect(wrong.code).toBe(1)
    expect(find(wrong.checks, 'smarthost')).toMatchObject({
      status: 'failed',
      detail: expect.stringContaining('535'),
    })
  })

  test('init: what a run has done stays and is not done again, from an empty database to a verified domain and its test mail', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-init-'))
    const empty = await createEmptyDatabase()
    const client = new pg.Client(empty.url)
    onTestFinished(async () => {
      await client.end()
      await empty.drop()
      await rm(folder, { recursive: true, force: true })
    })
    const { DATABASE_URL, VALIJA_DELIVERY, VALIJA_SECRET_KEY, VALIJA_ADMIN_KEY, ...world } = env
    const readEnv = () => readFile(path.join(folder, '.env'), 'utf8')

    const first = await initReport(folder, world, ['--delivery', 'mx'])
    const rest = ['tenant', 'domain', 'doctor'].map((name) => `${name} skipped`)
    expect(first.came).toEqual(['secrets done', 'delivery done', 'database failed', ...rest])
    expect(first.steps[2]!.fix).toContain('DATABASE_URL=postgresql://')
    const made = await readEnv()
    const secretKey = /^VALIJA_SECRET_KEY=(\S{43})$/m.exec(made)![1]!
    expect(made).toMatch(/^VALIJA_ADMIN_KEY=adm_\S{43}\nVALIJA_DELIVERY=mx$/m)

    await client.connect()
    const at = { ...world, DATABASE_URL: empty.url }
    const second = await initReport(folder, at, ['--test-to', 'ann@example.org'])
    const before = ['secrets done_before', 'delivery done_before']
    const fresh = ['database done', 'tenant done', 'domain to_do', 'doctor failed', 'test_mail skipped']
    expect(second.came).toEqual([...before, ...fresh])
    expect(second.tenant?.key).toMatch(/^vlj_/)
    expect(new Set(second.domain!.records.map(({ status }) => status))).toEqual(new Set(['unchecked']))

    for (const { name, type, value } of second.domain!.records) internet.dns.set(name, type, [value])
    const third = await initReport(folder, at, ['--test-to', 'ann@example.org'])
    const again = [
      'database done_before',
      'tenant done_before',
      'domain done',
      'doctor failed',
      'test_mail done',
    ]
    expect(third.came).toEqual([...before, ...again])
    expect(third.tenant).toMatchObject({ id: second.tenant!.id, key: null })

    const { code, text } = await init(folder, at, ['--test-to', 'ann@example.org'])
    for (const line of [
      `done before +tenant +${second.tenant!.id}`,
      `done before +test_mail +${third.message_id}`,
    ])
      expect(text).toMatch(new RegExp(`^${line}`, 'm'))
    expect(text).toMatch(/^Not done: doctor \(FAILED\)\./m)
    expect([first.code, second.code, third.code, code]).toEqual([1, 1, 1, 1])
    for (const said of [first, second, third, { text }]) expect(said.text).not.toContain(secretKey)
    expect(await readEnv()).toBe(made)
    const { rows } = await client.query(
      'SELECT (SELECT count(*)::int FROM valija.tenants) AS tenants, (SELECT count(*)::int FROM valija.messages) AS mails, scopes FROM valija.api_keys',
    )
    expect(rows).toEqual([{ tenants: 1, mails: 1, scopes: ['send', 'read', 'read:content', 'manage'] }])

    await rm(path.join(folder, '.env'))
    const lost = await initReport(folder, at)
    expect(lost.steps[0]).toMatchObject({
      name: 'secrets',
      status: 'failed',
      detail: expect.stringContaining('sealed'),
    })
    await expect(readEnv()).rejects.toThrow('ENOENT')
  })

  test('/readyz is ready', async () => {
    const { status, json } = await readiness(valija.api)
    expect([status, json.status]).toEqual([200, 'ready'])
  })

  test.each([
    ['without a resolver', { VALIJA_DNS_SERVERS: '127.0.0.1:1' }, 503, 'not_ready', 'resolver'],
    [
      'without a full name on port 25',
      { VALIJA_EHLO_NAME: 'vm', VALIJA_MX_PORT: '25' },
      503,
      'not_ready',
      'ehlo_name',
    ],
    ['without a full name in tests', { VALIJA_EHLO_NAME: 'vm' }, 200, 'degraded', 'ehlo_name'],
  ])('/readyz of mx %s', async (_, over, status, word, name) => {
    const { call } = await valija.addApi(over)
    const answer = await readiness(call)
    expect([answer.status, answer.json.status]).toEqual([status, word])
    expect(answer.json.checks.filter(({ ok }) => !ok).map((check) => check.name)).toEqual([name])
  })
})

describe.skipIf(needsProgram('redis-server'))('a broken world', () => {
  let internet: Internet
  let redis: TestRedis
  let folder: string
  let checks: Check[]
  let code: number | null
  beforeAll(async () => {
    internet = await startInternet()
    const dead = { A: [internet.deadAddress()] }
    internet.dns.zone = {
      'mail.acme.test': { A: ['127.0.0.9'] },
      '127.0.0.1': { PTR: ['vm7.hoster.test'] },
      'vm7.hoster.test': { A: ['192.0.2.7'] },
      'ietf.org': { A: ['192.0.2.1'] },
      '*.com': { A: ['198.51.100.9'] },
      'gmail.com': dead,
      'outlook.com': dead,
      'yahoo.com': dead,
      'bounce.acme.test': { CNAME: ['mail.acme.test'] },
      '2.0.0.127.zen.spamhaus.org': { A: ['127.0.0.2'] },
      '1.0.0.127.zen.spamhaus.org': { A: ['127.0.0.4'] },
      'dbltest.com.dbl.spamhaus.org': { A: ['127.255.255.254'] },
    }
    folder = await mkdtemp(path.join(os.tmpdir(), 'valija-doctor-'))
    const yesterday = new Date(Date.now() - 86_400_000)
    const { cert, key } = await issueServer(['mail.acme.test'], {
      notBefore: new Date(0),
      notAfter: yesterday,
    })
    await writeFile(path.join(folder, 'cert.pem'), cert)
    await writeFile(path.join(folder, 'key.pem'), key)
    redis = await startRedis()
    await redis.command('CONFIG SET maxmemory-policy allkeys-lru')
    const empty = await createEmptyDatabase()
    const answer = await doctor({
      DATABASE_URL: empty.url,
      REDIS_URL: redis.url,
      VALIJA_DELIVERY: 'mx',
      VALIJA_DNS_SERVERS: internet.dns.address,
      VALIJA_MX_PORT: `${internet.port}`,
      VALIJA_BOUNCE_DOMAIN: 'bounce.acme.test',
      VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
      VALIJA_SOURCE_IPS: '127.0.0.1,192.0.2.99',
      VALIJA_EHLO_NAME: 'mail.acme.test',
      VALIJA_EHLO_NAMES: 'x',
      VALIJA_TLS_CERT: path.join(folder, 'cert.pem'),
      VALIJA_TLS_KEY: path.join(folder, 'key.pem'),
    })
    checks = answer.checks
    code = answer.code
    await empty.drop()
  })
  afterAll(async () => {
    await internet?.stop()
    await redis?.remove()
    await rm(folder, { recursive: true, force: true })
  })

  test('the exit code is 1', () => expect(code).toBe(1))

  test.each([
    ['configuration', 'VALIJA_SECRET_KEY', /required/, /Set VALIJA_SECRET_KEY/],
    ['configuration', 'VALIJA_EHLO_NAMES', /VALIJA_EHLO_NAME\?/, /remove it/],
    ['schema', null, /have not been applied/, /valija -- migrate/],
    ['queue', 'redis', /allkeys-lru/, /noeviction/],
    ['resolver', null, /198\.51\.100\.9/, /VALIJA_DNS_SERVERS/],
    ['ehlo_name', 'mail.acme.test', /leaves from 127\.0\.0\.1/, /A or AAAA records/],
    ['reverse_name', '127.0.0.1', /vm7\.hoster\.test/, /PTR record to mail\.acme\.test/],
    ['source_address', '192.0.2.99', /no such address/, /ip address add/],
    ['port_25', '127.0.0.1', /no connection goes out/, /open outgoing port 25/],
    ['tls_certificate', null, /expired 24 h ago/, /Renew/],
    ['blocklist', '127.0.0.1', /XBL/, /check\.spamhaus\.org/],
    ['bounce_domain', 'bounce.acme.test', /alias/, /Remove the CNAME/],
  ])('%s %s is named with its fix', (name, subject, detail, fix) => {
    expect(find(checks, name, subject ?? undefined)).toMatchObject({
      status: 'failed',
      detail: expect.stringMatching(detail),
      fix: expect.stringMatching(fix),
    })
  })

  test('what can do without is a warning', () => {
    expect(find(checks, 'dnssec')).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('DANE'),
    })
    expect(find(checks, 'blocklist', 'dbl.spamhaus.org')).toMatchObject({
      status: 'warning',
      fix: expect.stringContaining('a resolver of your own'),
    })
  })
})

test('with PostgreSQL away everything else is still looked at', async () => {
  const { code, checks } = await doctor({
    ...secret,
    DATABASE_URL: 'postgresql://127.0.0.1:1/x',
    VALIJA_DELIVERY: 'capture',
  })
  expect(code).toBe(1)
  expect(checks.filter(({ status }) => status === 'failed')).toMatchObject([
    { name: 'database', detail: expect.stringContaining('ECONNREFUSED') },
  ])
  expect(find(checks, 'secret_key')).toMatchObject({ status: 'skipped' })
})

test('a word that is none is refused', async () => {
  const running = startApp('doctor', secret, ['--connect', 'smtp://mx.example.com'])
  expect((await running.ended).code).toBe(2)
  expect(running.lines.join('\n')).toContain('--connect takes host[:port]')
})

test('in the folder of npm start its database and keys are found, while it runs', async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-doctor-'))
  const env = { VALIJA_DATA_DIR: path.join(folder, 'data') }
  expect(find((await doctor(env)).checks, 'database')).toMatchObject({
    status: 'failed',
    fix: expect.stringContaining('npm start'),
  })
  const { process } = await startAll(env.VALIJA_DATA_DIR, {}, { isBare: true })
  const { checks } = await doctor(env)
  const wrong = checks.filter(({ name, status }) => status === 'failed' && !ownFaults.includes(name))
  expect(wrong).toEqual([])
  for (const name of ['database', 'schema', 'durability', 'secret_key', 'queue']) {
    expect(find(checks, name)).toMatchObject({ name, status: 'ok' })
  }
  expect(checks.filter(({ name }) => name === 'disk').map(({ subject }) => subject)).toEqual([
    env.VALIJA_DATA_DIR,
  ])
  await process.stop()
  expect(find((await doctor(env)).checks, 'database')).toMatchObject({
    status: 'skipped',
    detail: expect.stringContaining('is off'),
  })
  await rm(folder, { recursive: true, force: true })
})
