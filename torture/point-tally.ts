/** What the processes wrote down of the crash points that they passed (crash-hook.ts), and what it comes to. */
import { fstatSync, openSync, readSync } from 'node:fs'
import type { CrashPoint } from './crash-points.ts'

export interface PointTally {
  /** Awaits in the files on the way of a mail, two points each. */
  enumerated: number
  passed: number
  /** Points at which a process died. */
  killedAt: number
  /** Deaths in all. */
  deaths: number
  /** Passed, and never died at. */
  spared: string[]
  /** Passed only by cells, which are not told to die: a mail under which two of them did in a row would be given up, as it should. */
  inCells: string[]
  /** Never passed: what it takes to get there did not happen. */
  unreached: string[]
}

export interface Passes {
  /** `worker 17` */
  passed: Set<string>
  /** Several times by one process. */
  often: Set<string>
  killed: Set<string>
  /** Of those who died at a point. */
  pids: Set<number>
  deaths: number
}

/** @returns what gives all passes so far; each call reads only what has been added since the last */
export function openPassLog(file: string): () => Passes {
  const passes: Passes = {
    passed: new Set(),
    often: new Set(),
    killed: new Set(),
    pids: new Set(),
    deaths: 0,
  }
  const handle = openSync(file, 'a+')
  let atByte = 0
  let rest = ''
  return () => {
    const bytes = Buffer.alloc(fstatSync(handle).size - atByte)
    atByte += readSync(handle, bytes, 0, bytes.length, atByte)
    const lines = (rest + bytes.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) addLine(passes, line)
    return passes
  }
}

function addLine(passes: Passes, line: string): void {
  const [what = '', kind, id, pid] = line.split(' ')
  if (what === 'passed' || what === 'often' || what === 'killed') passes[what].add(`${kind} ${id}`)
  if (what !== 'killed') return
  passes.deaths += 1
  passes.pids.add(Number(pid))
}

export function tallyOf(points: readonly CrashPoint[], { passed, killed, deaths }: Passes): PointTally {
  const isIn =
    (set: Set<string>, ...kinds: string[]) =>
    ({ id }: CrashPoint) =>
      kinds.some((kind) => set.has(`${kind} ${id}`))
  const reached = points.filter(isIn(passed, 'api', 'worker'))
  const died = points.filter(isIn(killed, 'api', 'worker'))
  const others = points.filter((point) => !reached.includes(point))
  const isInCells = isIn(passed, 'worker-cell')
  const names = (list: CrashPoint[]) => list.map(({ name }) => name)
  return {
    enumerated: points.length,
    passed: reached.length,
    killedAt: died.length,
    deaths,
    spared: names(reached.filter((point) => !died.includes(point))),
    inCells: names(others.filter(isInCells)),
    unreached: names(others.filter((point) => !isInCells(point))),
  }
}

/** Points by file, short: `packages/flows/src/batcher.ts: 47:5 before, 47:5 after`. */
export function byFile(names: readonly string[]): string[] {
  const placeOf = (name: string) => name.slice(name.indexOf(':') + 1)
  return [...Map.groupBy(names, (name) => name.slice(0, name.indexOf(':')))].map(
    ([file, list]) => `${file}: ${list.map(placeOf).join(', ')}`,
  )
}
