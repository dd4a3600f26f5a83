/**
 * CPU time and memory of processes, from /proc (Linux). A process counts with all that it has started, the ended ones
 * included, so PostgreSQL is one number whatever its backends come and go.
 */
import { readdirSync, readFileSync } from 'node:fs'

/** Linux gives times to programs in ticks of this length, whatever the kernel's own clock does (USER_HZ). */
const tickMs = 10

interface Stat {
  pid: number
  parent: number
  /** utime + stime + cutime + cstime: its own, and that of children it has waited for. */
  ticks: number
}

/** Processes to watch: a name for the report, and the ids of the processes that go by it. */
export type Watched = Record<string, readonly number[]>

/** CPU milliseconds by name. */
export type Cpu = Record<string, number>

/** CPU time that each process and its descendants have used since they began. */
export function readCpu(watched: Watched): Cpu {
  const children = Map.groupBy(readStats(), (stat) => stat.parent)
  const all = new Map([...children.values()].flat().map((stat) => [stat.pid, stat]))
  const ticksOf = (stat: Stat | undefined): number =>
    stat === undefined
      ? 0
      : stat.ticks + (children.get(stat.pid) ?? []).reduce((sum, child) => sum + ticksOf(child), 0)
  return mapValues(watched, (pids) => pids.reduce((sum, pid) => sum + ticksOf(all.get(pid)) * tickMs, 0))
}

/** What was used between two readings. */
export function cpuBetween(before: Cpu, after: Cpu): Cpu {
  return mapValues(after, (ms, name) => ms - (before[name] ?? 0))
}

/**
 * Proportional set size of each process and its descendants, in MB: memory that processes share is divided among them, so a sum
 * is what they really hold.
 */
export function readMemory(watched: Watched): Record<string, number> {
  const children = Map.groupBy(readStats(), (stat) => stat.parent)
  const tree = (root: number): number[] => [
    root,
    ...(children.get(root) ?? []).flatMap((child) => tree(child.pid)),
  ]
  return mapValues(watched, (pids) => pids.flatMap(tree).reduce((sum, pid) => sum + readPssKb(pid), 0) / 1024)
}

function readPssKb(pid: number): number {
  try {
    return Number(/^Pss: +(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0 // it has just ended
  }
}

/** All processes of the machine: one pass costs a millisecond or two, and is made only before and after. */
function readStats(): Stat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readStat(Number(name)))
}

/** proc_pid_stat(5); the program's name stands in parentheses and may hold anything. */
function readStat(pid: number): Stat[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
    return [{ pid, parent: Number(fields[1]), ticks }]
  } catch {
    return [] // it has just ended
  }
}

function mapValues<T>(
  record: Record<string, T>,
  map: (value: T, name: string) => number,
): Record<string, number> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]))
}
