/** Does to the world what the plan says, and writes down from when to when. */
import { setTimeout as delay } from 'node:timers/promises'
import { monotonicMs } from '../bench/program.ts'
import type { PlannedFault } from './plan.ts'
import type { World } from './world.ts'

/** Resolves when what was broken is whole again. */
export async function commit(world: World, { kind, victim, slot, forMs }: PlannedFault): Promise<void> {
  if (victim === 'api' || victim === 'worker') {
    const app = (victim === 'api' ? world.apis : world.workers)[slot]
    if (kind === 'kill') await app?.kill(forMs)
    else if (kind === 'restart') await app?.restart()
    else await app?.pause(forMs)
    return
  }
  const store = victim === 'redis' ? world.redis : world.postgres
  if (store === null) return
  const atMs = monotonicMs()
  const tell = () => world.faults.add({ kind, victim, life: '', atMs, untilMs: monotonicMs(), detail: '' })
  if (kind === 'flush') {
    await world.redis?.flushall()
    tell()
    return
  }
  world.outages.begin()
  if (kind === 'pause') store.pause()
  else await store.kill()
  await delay(forMs)
  if (kind === 'pause') store.resume()
  else await store.restart()
  tell()
  world.outages.end()
}
