/** The steps of `valija init` that come before there is anything in the database: the variables, and the database's schema. */
import { createSealer } from '@valija/core'
import {
  type Config,
  type Environment,
  environment,
  examineConfig,
  loadConfig,
  newSecrets,
} from '@valija/runtime'
import { findSecretKeyProof, migrate, migrateQueue, openDatabase } from '@valija/store'
import { addToEnvFile } from './add-to-env-file.ts'
import { counted } from './in-commands.ts'
import type { Outcome } from './init-report.ts'

/** The variables as a process that is started now would see them. */
export interface Settings {
  /** Where new ones are written. */
  file: string
  env(): Environment
  config(): Config
  /** @throws {Error} a sentence; nothing was written */
  write(made: Readonly<Record<string, string>>): Promise<void>
}

/** @throws {ConfigError} */
export function openSettings(): Settings {
  let env = environment()
  let config = loadConfig(env, 'cli')
  return {
    file: config.envFile,
    env: () => env,
    config: () => config,
    write: async (made) => {
      await addToEnvFile(config.envFile, made, env)
      env = { ...env, ...made }
      config = loadConfig(env, 'cli')
    },
  }
}

export async function ensureSecrets(settings: Settings): Promise<Outcome> {
  const { secretKeys, adminKey, databaseUrl } = settings.config()
  if (secretKeys.length > 0 && adminKey !== null)
    return { status: 'done_before', detail: 'VALIJA_SECRET_KEY and VALIJA_ADMIN_KEY are set' }
  if (secretKeys.length === 0 && databaseUrl !== null && (await isSealed(databaseUrl)))
    return {
      status: 'failed',
      detail:
        'the database holds secrets that were sealed with a VALIJA_SECRET_KEY, which is not set here, and another one opens nothing',
      fix: `Write VALIJA_SECRET_KEY=<that key> into ${settings.file}.`,
    }
  const made = newSecrets()
  const missing = {
    ...(secretKeys.length === 0 && { VALIJA_SECRET_KEY: made.secretKey }),
    ...(adminKey === null && { VALIJA_ADMIN_KEY: made.adminKey }),
  }
  await settings.write(missing)
  const names = Object.keys(missing).join(' and ')
  return {
    status: 'done',
    detail: `${names} made and written into ${settings.file}`,
    fix: 'Keep a copy apart from the database, and give all processes the same: without the secret key what it sealed is lost.',
  }
}

/** PostgreSQL's words for a database that has nothing of ours: no such table, schema, role. */
const nothingThere = new Set(['42P01', '3F000', '22023'])

/** Whether the database belongs to a secret key already. */
async function isSealed(url: string): Promise<boolean> {
  const database = openDatabase({ url, onError: () => undefined })
  try {
    const proof = await findSecretKeyProof(database, createSealer([newSecrets().secretKey]))
    return proof !== 'none'
  } catch (error) {
    const { code = '', message } = error as Error & { code?: string }
    if (nothingThere.has(code)) return false
    throw new Error(`PostgreSQL cannot be used: ${message}. Check DATABASE_URL.`, { cause: error })
  } finally {
    await database.close()
  }
}

/** @param wish of --delivery */
export async function ensureDelivery(settings: Settings, wish: 'mx' | 'smarthost' | null): Promise<Outcome> {
  const present = settings.config().delivery
  if (present === null && wish === null)
    return {
      status: 'to_do',
      detail: 'VALIJA_DELIVERY is not set: how mail leaves',
      fix: 'Run this with --delivery mx (straight to the recipients’ servers, by port 25) or --delivery smarthost (through a relay).',
    }
  if (present !== null && wish !== null && wish !== present)
    return {
      status: 'failed',
      detail: `VALIJA_DELIVERY is ${present} already, not ${wish}`,
      fix: `Change it where it is set (${settings.file} or the environment), or leave --delivery out.`,
    }
  if (present === null) await settings.write({ VALIJA_DELIVERY: wish ?? '' })
  const { delivery } = settings.config()
  const detail = `VALIJA_DELIVERY=${delivery}${present === null ? `, written into ${settings.file}` : ''}`
  const { faults } = examineConfig(settings.env(), 'worker')
  const needed = faults.filter(({ message }) => message.includes('required by VALIJA_DELIVERY'))
  if (needed.length === 0) return { status: present === null ? 'done' : 'done_before', detail }
  const names = needed.map(({ name }) => name).join(', ')
  return {
    status: 'to_do',
    detail: `${detail}, which needs ${names}`,
    fix: `Write ${names} into ${settings.file}: docs/configuration.md says to what.`,
  }
}

export async function ensureSchema(settings: Settings): Promise<Outcome> {
  const { databaseUrl } = settings.config()
  if (databaseUrl === null)
    return {
      status: 'failed',
      detail: 'DATABASE_URL is not set',
      fix: `Make a database in PostgreSQL 16 or later (createdb valija) and write DATABASE_URL=postgresql://user:password@host/valija into ${settings.file}.`,
    }
  const applied = await migrate(databaseUrl)
  await migrateQueue(databaseUrl)
  return applied.length === 0
    ? { status: 'done_before', detail: 'the database is at this version' }
    : {
        status: 'done',
        detail: `the database was brought to this version (${counted(applied.length, 'migration')})`,
      }
}
