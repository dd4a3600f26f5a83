/**
 * vitest's global set-up: one PostgreSQL for a whole run, the one that `npm start` embeds, without fsync: a killed process loses nothing
 * by that, and no test takes the machine's power away. Tests that kill PostgreSQL have a cluster of their own (own-cluster.ts), with fsync.
 *
 * Two projects name this file, and vitest loads it once for each: what they share hangs on globalThis, and the last one
 * to be torn down stops it.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { TestProject } from 'vitest/node'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../packages/runtime/src/embedded-postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the cluster's own database `postgres`; test files take databases from `createDatabase`. */
    clusterUrl: string
  }
}

type Cluster = { postgres: EmbeddedPostgres; folder: string }
type Shared = { users: number; cluster: Promise<Cluster> }

const holder = globalThis as typeof globalThis & { valijaTestCluster?: Shared }

async function start(): Promise<Cluster> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-test-'))
  const lines: string[] = []
  const postgres = await startEmbeddedPostgres({
    dataDir: path.join(folder, 'data'),
    database: 'postgres',
    settings: { max_connections: '300', fsync: 'off', full_page_writes: 'off' },
    log: (line) => lines.push(line),
  }).catch((error) => {
    throw new Error(`the test cluster did not start: ${error.message}\n${lines.join('\n')}`)
  })
  return { postgres, folder }
}

/** Provides `clusterUrl` to the project's tests; returns what ends it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  holder.valijaTestCluster ??= { users: 0, cluster: start() }
  const shared = holder.valijaTestCluster
  shared.users += 1
  const { postgres, folder } = await shared.cluster
  project.provide('clusterUrl', postgres.url)
  return async () => {
    shared.users -= 1
    if (shared.users > 0) return
    holder.valijaTestCluster = undefined
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}
