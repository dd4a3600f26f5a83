/**
 * Mail that was being set aside for a route just when the route came back. Whoever set it aside did not know that yet, and whoever
 * released what waited did not see it: it would wait for its own next look, minutes later. So every worker that learns of a recovery
 * releases once more, when what was under way at that moment is written down.
 */
import type { Database, Wake } from '@valija/store'
import { releaseRoute } from './release-route.ts'
import type { RouteIndex, UnusableRoute } from './route-directory.ts'

export interface LateRelease {
  /** To be told of every reading. */
  notice(index: Pick<RouteIndex, 'unusable'>): void
  close(): Promise<void>
}

export interface LateReleaseParts {
  database: Pick<Database, 'engine'>
  wake: Pick<Wake, 'send'>
  /** Name of the installation's own route. */
  ownRoute: string
  onError: (error: Error) => void
}

/** Longer than a wake-up takes to reach every worker, and a lease to be given back. */
const lateMs = 1_500

export function createLateRelease(parts: LateReleaseParts): LateRelease {
  const { ownRoute, onError } = parts
  let before = new Map<string, UnusableRoute>()
  const timers = new Set<NodeJS.Timeout>()
  const writes = new Set<Promise<void>>()

  const releaseLater = ({ name, tenantId }: UnusableRoute) => {
    const timer = setTimeout(() => {
      timers.delete(timer)
      const write = releaseRoute(parts, { name: name ?? ownRoute, tenantId })
        .catch(onError)
        .finally(() => writes.delete(write))
      writes.add(write)
    }, lateMs)
    timers.add(timer)
  }
  return {
    notice: ({ unusable }) => {
      const now = new Map(unusable.map((route) => [`${route.tenantId ?? ''} ${route.name ?? ''}`, route]))
      for (const [key, route] of before) if (!now.has(key)) releaseLater(route)
      before = now
    },
    close: async () => {
      for (const timer of timers) clearTimeout(timer)
      await Promise.all(writes)
    },
  }
}
