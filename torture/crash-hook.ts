/**
 * Loaded before a process of the run (`NODE_OPTIONS=--import`): puts the marked copies of crash-points.ts in the place of their files,
 * and ends the process with SIGKILL at the point that it was told, at its n-th passage.
 *
 * What was passed goes to a file as it happens, a line each: `passed worker 17`, `often worker 17` the fifth time, and with the process'
 * id `killed worker 17 4711`. A cell of a worker is a `worker-cell`.
 */
import { openSync, readFileSync, writeSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

/** The environment variable that holds a `CrashOrder` as JSON. */
export const orderVariable = 'TORTURE_ORDER'

export interface CrashOrder {
  /** Which kind of process this is. */
  kind: 'api' | 'worker'
  copies: Record<string, string>
  logFile: string
  /** The points to die at: at the n-th passage of any of them that comes `afterMs` after the start; null: none. */
  target: { points: number[]; passage: number; afterMs: number } | null
}

const oftenFrom = 5

function obey({ kind, copies, logFile, target }: CrashOrder): void {
  const log = openSync(logFile, 'a')
  // A worker's cells inherit the order; a mail under which two of them die in a row would be given up, as it should.
  const isVictim = process.argv[2] === kind
  const name = isVictim ? kind : `${kind}-cell`
  const points = new Set(isVictim && target !== null ? target.points : [])
  const passed = new Map<number, number>()
  let passages = 0
  const pass = (point: number): void => {
    const times = (passed.get(point) ?? 0) + 1
    passed.set(point, times)
    if (times === 1) writeSync(log, `passed ${name} ${point}\n`)
    if (times === oftenFrom) writeSync(log, `often ${name} ${point}\n`)
    if (target === null || !points.has(point) || performance.now() < target.afterMs) return
    passages += 1
    if (passages < target.passage) return
    if (target.points.length > 1 && isTaken(logFile, point)) {
      points.delete(point)
      return
    }
    writeSync(log, `killed ${kind} ${point} ${process.pid}\n`)
    process.kill(process.pid, 'SIGKILL')
  }
  const after = <T>(point: number, value: T): T => {
    pass(point)
    return value
  }
  Object.assign(globalThis, { __torture: { before: pass, after } })
  registerHooks({
    load: (url, context, nextLoad) => {
      const copy = url.startsWith('file:') ? copies[fileURLToPath(url)] : undefined
      if (copy === undefined) return nextLoad(url, context)
      return { format: 'module', shortCircuit: true, source: readFileSync(copy, 'utf8') }
    },
  })
}

/** Somebody has died there since the order was given: the walk needs no second death. */
function isTaken(logFile: string, point: number): boolean {
  return new RegExp(`^killed \\S+ ${point} `, 'm').test(readFileSync(logFile, 'utf8'))
}

const order = process.env[orderVariable]
if (order !== undefined) obey(JSON.parse(order))
