/** Lets the mail go that waits for a route, now that the route can be used. */
import type { Uuid } from '@valija/core'
import { type Database, releaseHeld, type Wake } from '@valija/store'
import { routeHold } from './route-choice.ts'

/** @param route.tenantId whose route it is; null: one that anybody's mail may wait for */
export async function releaseRoute(
  { database, wake }: { database: Pick<Database, 'engine'>; wake: Pick<Wake, 'send'> },
  { name, tenantId }: { name: string; tenantId: Uuid | null },
): Promise<void> {
  const holds = [routeHold('route_paused', name), routeHold('route_down', name)]
  const released = await Promise.all(holds.map((hold) => releaseHeld(database.engine, hold, tenantId)))
  if (released.some((count) => count > 0)) wake.send('dispatch')
}
