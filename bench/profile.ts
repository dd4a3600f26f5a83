/**
 * Where the time goes: reads what `npm run bench -- --profile <folder>` left, and says it in text.
 *
 *   *.cpuprofile       of API and worker (V8's sampling profiler): the functions and the packages with the most time of their own
 *   *.heapprofile      of the same (V8's sampling heap profiler, allocations.ts): the functions and the packages that allocate most
 *   statements         PostgreSQL's own count (pg_stat_statements)
 *
 * A profiled run is slower than others, so no rates are reported with it.
 */
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Installation } from './valija.ts'

interface CallFrame {
  functionName: string
  url: string
  lineNumber: number
}

interface CpuProfile {
  nodes: {
    id: number
    callFrame: CallFrame
    children?: number[]
  }[]
  samples: number[]
  timeDeltas: number[]
}

interface HeapNode {
  callFrame: CallFrame
  /** Octets that it allocated itself, by the samples. */
  selfSize: number
  children: HeapNode[]
}

interface HeapProfile {
  head: HeapNode
}

const megabyte = 2 ** 20

const shown = 40

/** One section for each profile in the folder. */
export async function describeProfiles(folder: string): Promise<string> {
  const sections: string[] = []
  for (const file of (await readdir(folder)).sort()) {
    const read = async () => JSON.parse(await readFile(path.join(folder, file), 'utf8')) as unknown
    if (file.endsWith('.cpuprofile')) {
      sections.push(`## ${file}\n\n${describeProfile((await read()) as CpuProfile)}\n`)
    } else if (file.endsWith('.heapprofile')) {
      sections.push(`## ${file}\n\n${describeAllocations((await read()) as HeapProfile)}\n`)
    }
  }
  return sections.join('\n')
}

/** @returns who allocated most, collected since or not; buffers outside the heap are not seen */
export function describeAllocations({ head }: HeapProfile): string {
  const own = new Map<string, number>()
  const packages = new Map<string, number>()
  let bytes = 0
  const open = [head]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    open.push(...node.children)
    bytes += node.selfSize
    if (node.selfSize === 0) continue
    add(own, nameOf(node.callFrame), node.selfSize / megabyte)
    add(packages, packageOf(node.callFrame), node.selfSize / megabyte)
  }
  return [
    `allocated ${(bytes / megabyte).toFixed(0)} MB`,
    table('allocated by package', packages, bytes / megabyte, 20, 'MB'),
    table('allocated by function', own, bytes / megabyte, shown, 'MB'),
  ].join('\n\n')
}

/** @returns the most expensive functions (their own time), what they take with their callees, and the packages */
function describeProfile({ nodes, samples, timeDeltas }: CpuProfile): string {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id])))
  const own = new Map<string, number>()
  const inclusive = new Map<string, number>()
  const packages = new Map<string, number>()
  let busyMs = 0
  samples.forEach((id, index) => {
    const ms = (timeDeltas[index] ?? 0) / 1000
    const node = byId.get(id)
    if (node === undefined || /^\((?:idle|program|root)\)$/.test(node.callFrame.functionName)) return
    busyMs += ms
    const name = nameOf(node.callFrame)
    add(own, name, ms)
    add(packages, packageOf(node.callFrame), ms)
    const seen = new Set<string>()
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const ancestor = byId.get(at)
      if (ancestor) seen.add(nameOf(ancestor.callFrame))
    }
    for (const ancestor of seen) add(inclusive, ancestor, ms)
  })
  return [
    `busy ${busyMs.toFixed(0)} ms`,
    table('own time by package', packages, busyMs, 20),
    table('own time by function', own, busyMs, shown),
    table('time with callees', inclusive, busyMs, 2 * shown),
  ].join('\n\n')
}

function add(map: Map<string, number>, name: string, ms: number): void {
  map.set(name, (map.get(name) ?? 0) + ms)
}

function table(title: string, map: Map<string, number>, all: number, rows: number, unit = 'ms'): string {
  const lines = [...map]
    .sort(([, a], [, b]) => b - a)
    .slice(0, rows)
    .map(([name, part]) => {
      const share = ((100 * part) / all).toFixed(1).padStart(5)
      return `${share} %  ${part.toFixed(0).padStart(7)} ${unit}  ${name}`
    })
  return [title, ...lines].join('\n')
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  return `${functionName || '(anonymous)'} ${shortUrl(url)}${url ? `:${lineNumber + 1}` : ''}`
}

function packageOf({ functionName, url }: CallFrame): string {
  const short = shortUrl(url)
  if (short === '') return functionName
  return (
    /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(short)?.[1] ??
    /^(?:packages|apps)\/[^/]+/.exec(short)?.[0] ??
    short
  )
}

/** From the repository on; the last node_modules counts. */
function shortUrl(url: string): string {
  const modules = url.lastIndexOf('node_modules/')
  if (modules >= 0) return url.slice(modules)
  const repository = path.resolve(import.meta.dirname, '..')
  return url.replace('file://', '').replace(`${repository}/`, '')
}

/** What PostgreSQL counted, the most expensive statements first. */
export async function describeStatements(installation: Installation, mails: number): Promise<string> {
  const rows = await installation.query<{
    calls: string
    plan: number
    exec: number
    rows: string
    wal: string
    blocks: string
    query: string
  }>(
    `SELECT calls, total_plan_time AS plan, total_exec_time AS exec, rows, wal_bytes AS wal,
       shared_blks_hit + shared_blks_read AS blocks,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 90) AS query
     FROM pg_stat_statements ORDER BY total_plan_time + total_exec_time DESC LIMIT 25`,
  )
  const lines = rows.map(({ calls, plan, exec, rows: count, wal, blocks, query }) => {
    const perMail = ((plan + exec) / mails).toFixed(4)
    return `${perMail} ms/mail  calls ${calls}  plan ${plan.toFixed(0)}  exec ${exec.toFixed(0)} ms  rows ${count}  blocks ${(Number(blocks) / mails).toFixed(1)}/mail  wal ${(Number(wal) / mails).toFixed(0)} B/mail  ${query}`
  })
  return ['## PostgreSQL', '', ...lines, ''].join('\n')
}
