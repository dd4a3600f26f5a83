/** The destination of a route that has a fixed peer: the capture receiver, or a smarthost. */
import type { Destination } from './destination.ts'
import type { SessionTarget } from './session.ts'

/**
 * @param routeKey what the route's sessions are shared by: two routes of one name may log in to one host as two users
 * @param source name of the source address, `default` when the system chooses
 */
export function relayDestination(target: SessionTarget, routeKey: string, source: string): Destination {
  const key = `relay ${routeKey} ${target.host}:${target.port} ${target.tls} ${source}`
  return {
    key,
    scope: { key, provider: null, site: target.route, source, kind: 'relay' },
    candidates: () => [target],
    shareKeyOf: () => null,
    bestShareKeys: () => none,
  }
}

const none: ReadonlySet<string> = new Set()
