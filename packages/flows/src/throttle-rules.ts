/**
 * The shaping rules in force: the shipped ones and, when there is one, the operator's `shaping.yaml` in the data folder, which
 * is read again when it changes. A file that is broken then is told of, and the last good rules go on.
 */
import { readFile, stat } from 'node:fs/promises'
import {
  providerOf,
  readShippedFile,
  readThrottlePolicy,
  readYamlFile,
  type ThrottlePolicy,
  ThrottlePolicyError,
} from '@valija/core'
import { StartError } from './open-foundation.ts'
import type { FindProvider } from './site-scopes.ts'

export interface ThrottleRules {
  current(): ThrottlePolicy
  /** For `createSiteScopes`. */
  findProvider: FindProvider
  /** Called when other rules are in force; returns how to stop. */
  onChange(listener: () => void): () => void
  stop(): void
}

export interface ThrottleRulesOptions {
  /** The operator's file, which need not exist; null: the shipped rules alone. */
  file: string | null
  onError: (error: Error) => void
  /** Told when the file was read again. */
  onReload: (file: string) => void
}

/** A change is noticed within this, in milliseconds. */
const lookEveryMs = 2_000

/** @throws {StartError} when the operator's file is broken at the start: sending without its limits is not what they want */
export async function loadThrottleRules(options: ThrottleRulesOptions): Promise<ThrottleRules> {
  const { file, onError, onReload } = options
  const listeners = new Set<() => void>()
  let version = await versionOf(file)
  let policy: ThrottlePolicy
  try {
    policy = await read(file)
  } catch (error) {
    if (!(error instanceof ThrottlePolicyError)) throw error
    throw new StartError(error.message, { cause: error })
  }
  const look = async () => {
    const found = await versionOf(file)
    if (found === version) return
    // Also when it is broken: once is enough to tell.
    version = found
    policy = await read(file)
    onReload(file ?? '')
    for (const listener of listeners) listener()
  }
  const timer = file === null ? undefined : setInterval(() => void look().catch(onError), lookEveryMs).unref()
  return {
    current: () => policy,
    findProvider: (question) => {
      const provider = providerOf(policy, question)
      return (
        provider && {
          name: provider.name,
          isWide: provider.per === 'provider',
          isTlsRequired: provider.limits.isTlsRequired,
        }
      )
    },
    onChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop: () => clearInterval(timer),
  }
}

/** What changes when the file does; `none` without one. */
async function versionOf(file: string | null): Promise<string> {
  if (file === null) return 'none'
  const found = await stat(file, { bigint: true }).catch(orNull)
  return found === null ? 'none' : `${found.ino} ${found.size} ${found.mtimeNs}`
}

async function read(file: string | null): Promise<ThrottlePolicy> {
  const text = file === null ? null : await readFile(file, 'utf8').catch(orNull)
  const own = text === null || file === null ? [] : [await readYamlFile(file, text)]
  return readThrottlePolicy([readShippedFile('shaping'), ...own])
}

function orNull(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null
  throw error
}
