/**
 * Which crash points each new life of a process is to die at. A life that ends otherwise leaves its point to a later one.
 *
 *   at random      one of those that this kind of process has been seen to pass, in the order of the seed; those that nobody has died at
 *                  yet come first. The first life of each kind for which one is known gets one that is passed often, and dies when it first
 *                  comes there, so that even a short run has such deaths
 *   `--walk`       whichever of all that nobody has died at yet is passed first: no new point is passed by such a life without a death.
 *                  The last process of each kind is told none, so that all goes on meanwhile.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { type CrashOrder, orderVariable } from './crash-hook.ts'
import { type CrashPoint, type PreparedSources, prepareSources } from './crash-points.ts'
import { guards } from './guards.ts'
import type { Options } from './options.ts'
import { isSteady } from './plan.ts'
import { openPassLog, type Passes, type PointTally, tallyOf } from './point-tally.ts'
import { createRandom } from './random.ts'

type Command = 'api' | 'worker'

export interface Targets {
  /** For the next life of a process. */
  environmentFor(command: Command, slot: number): Record<string, string>
  /** From now on lives get points to die at, or no more. */
  arm(isArmed: boolean): void
  /** Whether the process with this id died at a point. */
  diedAtPoint(pid: number): boolean
  tally(): PointTally
}

export interface TargetPlaces {
  /** Of the repository. */
  root: string
  /** Of the run. */
  folder: string
}

/** Writes the copies of the sources that the processes are to run. */
export function prepare({ faults, without }: Options, { root, folder }: TargetPlaces): PreparedSources {
  const changes = without === null ? [] : guards[without]
  return prepareSources(root, path.join(folder, 'sources'), faults.has('points'), changes)
}

export function createTargets(
  options: Options,
  { points, copies }: PreparedSources,
  { root, folder }: TargetPlaces,
): Targets {
  const { faults, walk } = options
  const withPoints = faults.has('points')
  const logFile = path.join(folder, 'points.log')
  const readLog = openPassLog(logFile)
  const choose = walk ? createWalk(options, points) : createChoice(options, points)
  let isArmed = false
  const hook = pathToFileURL(path.join(root, 'torture/crash-hook.ts')).href
  return {
    environmentFor: (command, slot): Record<string, string> => {
      if (Object.keys(copies).length === 0) return {}
      const isVictim = isArmed && withPoints && !isSteady(options, slot)
      const target = isVictim ? choose(command, readLog()) : null
      const crashOrder: CrashOrder = { kind: command, copies, logFile, target }
      return { NODE_OPTIONS: `--import=${hook}`, [orderVariable]: JSON.stringify(crashOrder) }
    },
    arm: (value) => {
      isArmed = value
    },
    diedAtPoint: (pid) => readLog().pids.has(pid),
    tally: () => tallyOf(points, readLog()),
  }
}

type Choose = (command: Command, passes: Passes) => CrashOrder['target']

/** One point for each life. */
function createChoice({ seed, roundMs }: Options, points: readonly CrashPoint[]): Choose {
  const random = createRandom(seed, 'points')
  const order = random.shuffled(points)
  const tries = new Map<string, number>()
  const certain = new Set<Command>()
  return (command, { passed, often, killed }) => {
    const own = order.filter(({ id }) => passed.has(`${command} ${id}`))
    const tried = ({ id }: CrashPoint) => tries.get(`${command} ${id}`) ?? 0
    // Those that were tried least come first; sorting keeps the order of the seed among equals.
    const open = own
      .filter(({ id }) => !killed.has(`${command} ${id}`))
      .sort((one, other) => tried(one) - tried(other))
    const sure = certain.has(command) ? undefined : open.find(({ id }) => often.has(`${command} ${id}`))
    const point = sure ?? open[0] ?? (own.length > 0 ? random.pick(own) : undefined)
    if (point === undefined) return null
    if (sure) certain.add(command)
    const name = `${command} ${point.id}`
    const count = tried(point)
    tries.set(name, count + 1)
    // Some points are only passed at the start, others rarely: there the first passage has to do, as where it was missed before.
    const isEager = sure !== undefined || count % 2 === 1 || !often.has(name)
    return {
      points: [point.id],
      passage: isEager ? 1 : random.whole(1, 5),
      afterMs: isEager ? 0 : random.whole(0, 3 * roundMs),
    }
  }
}

/** In a life that is not eager, so many passages are let go by, so that points on every mail's way are not all met by the first mail. */
const mostLetGo = 12
const latestMs = 4_000

/** All points that are left, for every second life the first of them that it comes to. */
function createWalk({ seed }: Options, points: readonly CrashPoint[]): Choose {
  const random = createRandom(seed, 'walk')
  const lives = { api: 0, worker: 0 }
  return (command, { killed }) => {
    const open = points.filter(({ id }) => !killed.has(`api ${id}`) && !killed.has(`worker ${id}`))
    lives[command] += 1
    const isEager = lives[command] % 2 === 0
    return {
      points: open.map(({ id }) => id),
      passage: isEager ? 1 : random.whole(1, mostLetGo),
      afterMs: isEager ? 0 : random.whole(0, latestMs),
    }
  }
}
