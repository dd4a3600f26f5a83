/**
 * `valija doctor [--json] [--connect <host[:port]>]…`: looks at everything that delivery needs, with the environment that a process would get, and prints what
 * is wrong and how to mend it. Exit code 1 when something failed. It changes nothing and sends no mail.
 */
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import {
  type Check,
  checkOf,
  type DatabasePlace,
  type ExaminedInstallation,
  examineInstallation,
  judgeConfiguration,
  type PeerWish,
  parsePeer,
  publicWorld,
} from '@valija/flows'
import {
  type Config,
  type ConfigFault,
  type Environment,
  environment,
  examineConfig,
  readSecrets,
} from '@valija/runtime'
import { checkLines, checkSum } from './check-lines.ts'
import { UsageError } from './command.ts'
import { type DevFile, findRunning } from './data-folder.ts'
import { print, printJson } from './output.ts'

export async function doctor({ connect, json }: { connect: string[]; json: boolean }): Promise<void> {
  const peers = connect.map(peerOf)
  const all = await examine(environment(), peers)
  const isWell = all.every(({ status }) => status !== 'failed')
  if (json) printJson({ ok: isWell, checks: all })
  else print(`${[...checkLines(all), '', checkSum(all)].join('\n')}\n`)
  if (!isWell) process.exitCode = 1
}

/** Looks at everything that a process with this environment would need. */
export async function examine(env: Environment, peers: PeerWish[]): Promise<Check[]> {
  const { installation, checks } = await readInstallation(env)
  return [...checks, ...(await examineInstallation(installation, { ...publicWorld, peers }))]
}

function peerOf(text: string): PeerWish {
  const peer = parsePeer(text)
  if (peer === null) throw new UsageError(`--connect takes host[:port] or [IPv6]:port, not "${text}"`)
  return peer
}

async function readInstallation(
  env: Environment,
): Promise<{ installation: ExaminedInstallation; checks: Check[] }> {
  const asStart = examineConfig(env, 'start')
  const isStart =
    asStart.config.databaseUrl === null && asStart.faults.every(({ name }) => name !== 'DATABASE_URL')
  const { config, faults } = isStart ? asStart : examineConfig(env, 'worker')
  const apiFaults: readonly ConfigFault[] = isStart ? [] : examineConfig(env, 'api').faults
  const running = isStart ? await findRunning(config.dataDir) : null
  const { tlsCert, tlsKey } = config
  const ehloName = config.ehloName ?? hostname()
  return {
    installation: {
      ...config,
      ehloName,
      delivery: config.delivery ?? (isStart ? 'capture' : null),
      database: placeOf(config, running),
      secretKeys: await secretKeysOf(config, isStart),
      dataFolder: isStart && existsSync(config.dataDir) ? config.dataDir : null,
      certificate: tlsCert !== null && tlsKey !== null ? { certPath: tlsCert, keyPath: tlsKey } : null,
      ownNames: [...new Set([ehloName, new URL(config.publicUrl).hostname])],
    },
    checks: judgeConfiguration(faults, apiFaults),
  }
}

/** The database that is configured, or else the one of the `npm start` that runs in the data folder. */
function placeOf({ databaseUrl, dataDir }: Config, running: DevFile | null): DatabasePlace {
  const url = databaseUrl ?? running?.databaseUrl
  if (url !== undefined) return { kind: 'url', url }
  const check = checkOf('database')
  if (existsSync(path.join(dataDir, 'postgres'))) {
    const why = `the embedded PostgreSQL in ${dataDir} is off: run "npm start" and look again, or set DATABASE_URL`
    return { kind: 'absent', check: check.skipped(why) }
  }
  const fix =
    'Set DATABASE_URL, or run "npm start" first (and VALIJA_DATA_DIR, if its folder is another one).'
  return {
    kind: 'absent',
    check: check.failed(`DATABASE_URL is not set, and no "npm start" has run in ${dataDir}`, fix),
  }
}

/** Those of `npm start` are in its folder; one that cannot be read is told as no key. */
async function secretKeysOf({ secretKeys, dataDir }: Config, isStart: boolean): Promise<readonly string[]> {
  if (secretKeys.length > 0 || !isStart) return secretKeys
  const kept = await readSecrets(dataDir).catch(() => null)
  return kept === null ? [] : [kept.secretKey]
}
