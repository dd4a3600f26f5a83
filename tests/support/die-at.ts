/**
 * Ends a process of ours by SIGKILL at one await of its sources, and nowhere else: what a crash between two commits leaves can
 * thus be looked at, instead of waited for. The product has no switch for it: a marked copy of that one file takes its place in
 * the process that gets this environment (torture/crash-points.ts says how).
 *
 *     const worker = await valija.addWorker(dieAt(folder, { process: 'worker', file: 'packages/…', awaits: 'commit(', when: 'after' }))
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { type CrashOrder, orderVariable } from '../../torture/crash-hook.ts'
import { type CrashPoint, markAwaits, writeCopy } from '../../torture/crash-points.ts'
import { REPOSITORY } from './processes.ts'

export type DeathAt = {
  process: CrashOrder['kind']
  /** From the repository's root. */
  file: string
  /** How what is awaited begins; once in the file. */
  awaits: string
  when: 'before' | 'after'
}

/** @param folder where the copy may lie */
export function dieAt(folder: string, { process, file, awaits, when }: DeathAt): Record<string, string> {
  const original = path.join(REPOSITORY, file)
  const text = readFileSync(original, 'utf8')
  const points: CrashPoint[] = []
  const marked = markAwaits(file, text, points)
  const point = points.find(({ name }) => name === `${placeOf(file, text, awaits)} ${when}`)
  if (point === undefined) throw new Error(`${file} awaits nothing at ${JSON.stringify(awaits)}`)
  const order: CrashOrder = {
    kind: process,
    copies: { [original]: writeCopy(folder, file, marked) },
    logFile: path.join(folder, 'points.log'),
    target: { points: [point.id], passage: 1, afterMs: 0 },
  }
  const hook = pathToFileURL(path.join(REPOSITORY, 'torture/crash-hook.ts')).href
  return { NODE_OPTIONS: `--import=${hook}`, [orderVariable]: JSON.stringify(order) }
}

/** `file:line:column` of the await, as crash points are named. */
function placeOf(file: string, text: string, awaits: string): string {
  const [before = '', ...others] = text.split(`await ${awaits}`)
  if (others.length !== 1)
    throw new Error(`${file} awaits ${JSON.stringify(awaits)} ${others.length} times, not once`)
  const lines = before.split('\n')
  return `${file}:${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}`
}
