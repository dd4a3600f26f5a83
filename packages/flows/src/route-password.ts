/** The password of a route's smarthost at rest: sealed for that route, so that it opens in no other row. */
import type { Sealer, Uuid } from '@valija/core'

export function sealRoutePassword(sealer: Sealer, routeId: Uuid, password: string): Buffer {
  return sealer.seal(Buffer.from(password), routePasswordOwner(routeId))
}

/** @throws {SealError} when the secret key that sealed it is no longer configured */
export function openRoutePassword(sealer: Sealer, routeId: Uuid, sealed: Buffer): string {
  return sealer.open(sealed, routePasswordOwner(routeId)).toString()
}

/** What it belongs to, for `Sealer`. */
export function routePasswordOwner(routeId: Uuid): string {
  return `route:${routeId}`
}
