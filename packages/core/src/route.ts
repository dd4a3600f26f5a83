/**
 * The ways that mail can take, and in which order the routes of a list are tried for a recipient.
 *
 * A route has a name. The installation brings three itself: `capture` (the inbox) everywhere, and `smarthost` or `mx`, whichever
 * VALIJA_DELIVERY says; all others are made by POST /routes.
 */
import { hash } from 'node:crypto'

export const routeKinds = ['mx', 'smarthost', 'capture'] as const
export type RouteKind = (typeof routeKinds)[number]

/** A name of the installation's own: nobody can give it to a route that he makes. */
export function isBuiltInRoute(name: string): name is RouteKind {
  return (routeKinds as readonly string[]).includes(name)
}

/**
 * How a delivery row says that the installation's own route was asked for by name, so that no list has a say. No route that
 * anybody makes can be called so.
 */
const pinMark = '='

export function pinRoute(name: string): string {
  return `${pinMark}${name}`
}

/** The name in a delivery row, and whether it was asked for by name. */
export function readRoute(route: string): { name: string; isPinned: boolean } {
  return route.startsWith(pinMark)
    ? { name: route.slice(pinMark.length), isPinned: true }
    : { name: route, isPinned: false }
}

/** Names that would be read as something else in attempts and metrics. */
const otherReserved = ['simulator', 'default', 'installation']

/** @returns what is wrong with the name of a new route; null when nothing is */
export function findRouteNameFault(name: string): string | null {
  if (isBuiltInRoute(name) || otherReserved.includes(name)) {
    return `${JSON.stringify(name)} is a name of the installation's own; choose another one.`
  }
  if (/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return null
  return 'must be 1 to 63 lower-case letters, digits and hyphens, such as relay-1.'
}

/** One route of a list. */
export interface RouteListEntry {
  /** Its name. */
  route: string
  /** Its share against the others that are no backups, 1 to 1000. */
  weight: number
  /** Taken only while none of the others can be; backups in the order of the list. */
  isBackup: boolean
}

/** The routes of a list as one recipient meets them: the weighted ones in an order that is always the same for him, then the backups. */
export function orderRoutes(entries: readonly RouteListEntry[], recipient: string): string[] {
  const weighted = entries.filter((entry) => !entry.isBackup)
  const backups = entries.filter((entry) => entry.isBackup)
  const first = rankByWeight(weighted, ({ route, weight }) => ({ key: route, weight }), recipient)
  return [...first, ...backups].map((entry) => entry.route)
}

/**
 * Orders choices for a subject, always the same way for the same subject, so that each is first for a share of subjects by its
 * weight, and that one which comes or goes moves no subject between the others (weighted rendezvous hashing).
 */
export function rankByWeight<T>(
  choices: readonly T[],
  read: (choice: T) => { key: string; weight: number },
  subject: string,
): T[] {
  if (choices.length < 2) return [...choices]
  const scored = choices.map((choice) => {
    const { key, weight } = read(choice)
    return { choice, score: weight / -Math.log(fraction(`${key} ${subject}`)) }
  })
  return scored.sort((a, b) => b.score - a.score).map(({ choice }) => choice)
}

/** A number in (0, 1) that a text always gives. */
function fraction(text: string): number {
  const digest = hash('sha1', text, 'buffer')
  return (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48
}
