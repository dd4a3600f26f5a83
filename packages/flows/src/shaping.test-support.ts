/** Shapers on one database, as workers of their own, and reports of what sites said to them. */
import {
  createIdSource,
  createJudge,
  loadReplyRules,
  readThrottlePolicy,
  readYamlFile,
  type TransactionReport,
  type Uuid,
} from '@valija/core'
import type { ConnectionGrant, ShapingScope } from '@valija/courier'
import { parseSmtpReply } from '@valija/mail'
import {
  type Database,
  type DatabaseClock,
  openDatabase,
  openWake,
  startDatabaseClock,
  type Wake,
} from '@valija/store'
import { createDatabase } from '../../../tests/support/database.ts'
import { createShaper, type Shaper } from './shape-sites.ts'

export const testRules = `
unknown: { connections: 10, mails_per_connection: 100 }
relay: { connections: 20, mails_per_connection: 1000 }
providers:
  bigmail:
    mx: [bigmail.test]
    connections: 3
    mails_per_connection: 50
    rate: 20/s
    rules:
      - text: blocked for an hour
        count: 2
        within: 10m
        suspend: 1h
      - text: one connection please
        connections: 1
        for: 10m
      - text: your domain sends too much
        blame: sending_domain
        suspend: 30m
      - text: this customer sends too much
        count: 2
        within: 10m
        blame: tenant
        suspend: 5m
  plain: { mx: [plain.test], connections: 3 }
`

export const bigmail = scope('bigmail * default', { provider: 'bigmail', site: 'mx1.bigmail.test' })
export const plain = scope('plain * default', { provider: 'plain', site: 'mx1.plain.test' })

export function scope(key: string, more: Partial<ShapingScope> = {}): ShapingScope {
  return { key, provider: null, site: key, source: 'default', kind: 'mx', ...more }
}

export interface ShapingBench {
  database: Database
  clock: DatabaseClock
  wake: Wake
  /** A worker's shaper, with connections of its own. */
  worker(rules?: string): Promise<TestWorker>
  newTenant(): Promise<Uuid>
  errors: Error[]
  close(): Promise<void>
}

export interface TestWorker {
  shaper: Shaper
  workerId: Uuid
  stop(): Promise<void>
}

export async function openShapingBench(): Promise<ShapingBench> {
  const target = await createDatabase()
  const errors: Error[] = []
  const onError = (error: Error) => errors.push(error)
  const database = openDatabase({ url: target.url, onError })
  const clock = await startDatabaseClock(database.engine, onError)
  const wake = await openWake(target.url, onError)
  const nextId = createIdSource(clock.nowMs)
  const running = new Set<TestWorker>()
  const worker = async (rules = testRules): Promise<TestWorker> => {
    const policy = readThrottlePolicy([await readYamlFile('test.yaml', rules)])
    const ownWake = await openWake(target.url, onError)
    const workerId = nextId()
    const shaper = createShaper({
      database,
      wake: ownWake,
      clock,
      nextId,
      rules: { current: () => policy, onChange: () => () => {} },
      workerId,
      onError,
    })
    await shaper.start()
    const made: TestWorker = {
      shaper,
      workerId,
      stop: async () => {
        if (!running.delete(made)) return
        await shaper.stop()
        await ownWake.close()
      },
    }
    running.add(made)
    return made
  }
  return {
    database,
    clock,
    wake,
    worker,
    errors,
    newTenant: async () => {
      const id = nextId()
      await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
      return id
    },
    close: async () => {
      for (const one of running) await one.stop()
      clock.stop()
      await wake.close()
      await database.close()
      await target.drop()
    },
  }
}

/** What came of an attempt at a site. */
export function reportOf(more: Partial<TransactionReport> & { text?: string } = {}): TransactionReport {
  const { text, ...fields } = more
  return {
    route: 'mx',
    host: 'mx1.test',
    ip: '192.0.2.1',
    port: 25,
    sourceIp: null,
    tls: null,
    phase: 'body',
    reply: text === undefined ? null : parseSmtpReply(text),
    failure: null,
    detail: null,
    isUncertain: false,
    startedAt: new Date(),
    durationMs: 0,
    timingsMs: { dns: 0, connect: 0, tls: 0, ehlo: 0, envelope: 0, data: 0, total: 0 },
    transcript: [],
    sizeBytes: null,
    isSimulated: false,
    ...fields,
  }
}

export const taken = () => reportOf({ text: '250 2.0.0 OK' })
export const throttled = (text = '421 4.7.0 slow down') => reportOf({ phase: 'mail', text })
export const unreachable = () =>
  reportOf({ phase: 'connect', failure: 'connection_refused', detail: 'refused' })

const judge = createJudge(loadReplyRules())

/** Lets a worker see a report. */
export function see(
  { shaper }: TestWorker,
  scope: ShapingScope,
  report: TransactionReport,
  delivery: { tenantId: Uuid; fromDomain: string },
): number | null {
  return shaper.observe(scope, { report, disposition: judge(report), delivery })
}

export type Granted = Extract<ConnectionGrant, { isGranted: true }>

export async function mustGrant({ shaper }: TestWorker, scope: ShapingScope): Promise<Granted> {
  const grant = await shaper.takeConnection(scope)
  if (!grant.isGranted) throw new Error(`no connection for ${scope.key}`)
  return grant
}
