/**
 * What most people write: a Fastify route that adds a BullMQ job for each mail, a worker that hands it to nodemailer's pool and
 * updates a row. In two processes, with the same PostgreSQL, the same Redis and as many connections to the sink as Valija has; to PostgreSQL as many as
 * node-postgres has by itself (10 for each process).
 *
 * It promises less than Valija (a mail whose job Redis loses stays `queued`, and one that a worker dies with comes again), has no
 * events, no keys, no suppressions, and one job is one mail.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { startEmbeddedPostgres } from '@valija/runtime'
import pg from 'pg'
import { freePort } from '../tests/support/ports.ts'
import { closeAll } from './closers.ts'
import { noFigures, type Phase, VoidRun } from './phase.ts'
import { type Program, startProgram } from './program.ts'
import { startRedis } from './redis-server.ts'
import { acceptedPerS, measure, post, type Stage, untilRecorded, wholeTally } from './stage.ts'

const tableSql = `CREATE TABLE mails (
  id uuid PRIMARY KEY, recipient text NOT NULL, subject text NOT NULL, status text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz)`

export async function runUsualStack(stage: Stage, isSigned: boolean): Promise<Phase> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-bench-usual-'))
  const closers: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })]
  try {
    const postgres = await startEmbeddedPostgres({
      dataDir: path.join(folder, 'postgres'),
      database: 'mails',
      settings: stage.settings,
    })
    closers.push(postgres.stop)
    const redis = await startRedis(folder)
    closers.push(redis.app.stop)
    const client = new pg.Client(postgres.url)
    await client.connect()
    closers.push(() => client.end())
    await client.query(tableSql)
    const port = await freePort()
    const stores = [postgres.url, `${redis.port}`]
    const api = startProgram('usual-api.ts', [`${port}`, ...stores])
    closers.push(api.end)
    const signing = isSigned ? ['dkim'] : []
    const worker = startProgram('usual-worker.ts', [`${stage.sinkPort}`, ...stores, ...signing])
    closers.push(worker.end)
    await Promise.all([api.ask('ready'), worker.ask('ready')])

    const send = async (first: number, count: number) => {
      await stage.sink.ask('expect', { first, count })
      const load = await post(stage, { port, apiKeys: [], first, count })
      await Promise.race([wholeTally(stage, count), endOf(worker)])
      return { load, notedAtMs: await allNoted(client) }
    }
    await send(0, stage.warmUp)
    const processes = {
      api: [api.pid],
      worker: [worker.pid],
      postgres: [postgres.pid],
      redis: [redis.app.pid],
    }
    const { result, ...used } = await measure(stage, stage.mails, processes, () =>
      send(stage.warmUp, stage.mails),
    )
    const { load, notedAtMs } = result
    return {
      ...noFigures,
      ...used,
      mails: stage.mails,
      acceptedPerS: acceptedPerS(load),
      deliveredPerS: (stage.mails * 1000) / (notedAtMs - load.startedAtMs),
      answer: load.answer,
    }
  } finally {
    await closeAll(closers)
  }
}

/** Rejects when it has ended, which it never does by itself. */
async function endOf(worker: Program): Promise<never> {
  throw new VoidRun(`the worker has ended (${await worker.ended})`)
}

/** @returns when the last mail was noted as sent, by the monotonic clock */
const allNoted = (client: pg.Client) =>
  untilRecorded(async () => {
    const { rows } = await client.query<{ isDone: boolean }>(
      `SELECT NOT EXISTS (SELECT FROM mails WHERE status <> 'sent') AS "isDone"`,
    )
    return rows[0]?.isDone ?? false
  })
