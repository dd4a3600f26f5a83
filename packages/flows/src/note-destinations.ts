/**
 * Writes down which site a domain's mail goes to, so that it can be looked up later by the domain (store/destinations.ts). In
 * batches, and not again within an hour while it is the same: a mail costs a look into memory.
 */
import type { ShapingScope } from '@valija/courier'
import { type Database, type NotedDestination, noteDestinations } from '@valija/store'

export interface DestinationNotes {
  /** @param exchangers names, best first; empty for a relay */
  note(domain: string, scope: ShapingScope, exchangers: readonly string[]): void
  /** Writes down what is left. */
  stop(): Promise<void>
}

const gatherMs = 1_000
const afterErrorMs = 5_000
const noteAgainMs = 3_600_000
const mostRemembered = 50_000
const mostAtOnce = 1_000

export function createDestinationNotes(parts: {
  database: Database
  onError: (error: Error) => void
}): DestinationNotes {
  const noted = new Map<string, { shown: string; untilMs: number }>()
  const pending = new Map<string, NotedDestination>()
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> | null = null
  let isStopped = false

  const write = async () => {
    const batch = [...pending].slice(0, mostAtOnce)
    if (batch.length === 0) return
    await noteDestinations(
      parts.database.engine,
      batch.map(([, destination]) => destination),
    )
    for (const [key, destination] of batch) if (pending.get(key) === destination) pending.delete(key)
  }
  const writeLater = (afterMs: number) => {
    if (isStopped) return
    timer ??= setTimeout(() => {
      timer = undefined
      writing = write()
        .then(() => gatherMs)
        .catch((error: Error) => {
          parts.onError(error)
          return afterErrorMs
        })
        .then((pauseMs) => {
          writing = null
          if (pending.size > 0) writeLater(pauseMs)
        })
    }, afterMs).unref()
  }
  return {
    note: (domain, scope, exchangers) => {
      const key = `${domain} ${scope.key}`
      const shown = `${scope.provider} ${exchangers.join(' ')}`
      const known = noted.get(key)
      const now = performance.now()
      if (known !== undefined && known.shown === shown && known.untilMs > now) return
      noted.delete(key)
      noted.set(key, { shown, untilMs: now + noteAgainMs })
      const oldest = noted.size > mostRemembered ? noted.keys().next().value : undefined
      if (oldest !== undefined) noted.delete(oldest)
      pending.set(key, { domain, scopeKey: scope.key, provider: scope.provider, exchangers })
      if (writing === null) writeLater(gatherMs)
    },
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await writing
      await write().catch(parts.onError)
    },
  }
}
