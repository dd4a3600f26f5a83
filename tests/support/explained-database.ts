/**
 * A database that tells the plan of every statement that it runs, whoever sends it: PostgreSQL's auto_explain hands each plan, with the rows
 * that were really touched, to the client as a notice, and a proxy in front of the database reads those on their way.
 *
 * So what is looked at is what the processes under test send, function bodies and all, and no copy of it.
 */
import net from 'node:net'
import pg from 'pg'
import { createDatabase } from './database.ts'
import { freePort } from './ports.ts'

export type PlanNode = {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  'Rows Removed by Join Filter'?: number
  Plans?: PlanNode[]
}

export type Explained = { text: string; plan: PlanNode }

export type ExplainedDatabase = {
  /** Through the proxy: for the processes. */
  url: string
  /** Past it: for whoever fills and looks. */
  directUrl: string
  /** Every statement since the start, or since this was emptied. */
  explained: Explained[]
  stop: () => Promise<void>
}

/** The settings hold for every later session of this database. `log_timing` off: rows are what is asked for, and clocks cost time. */
const settings = {
  session_preload_libraries: 'auto_explain',
  'auto_explain.log_min_duration': '0',
  'auto_explain.log_analyze': 'on',
  'auto_explain.log_timing': 'off',
  'auto_explain.log_nested_statements': 'on',
  'auto_explain.log_parameter_max_length': '0',
  'auto_explain.log_format': 'json',
  'auto_explain.log_level': 'notice',
}

/** Reads messages of PostgreSQL's protocol (version 3): a letter, a length that counts itself, and that much less 4. */
function readMessages(onMessage: (type: string, body: Buffer) => void) {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      if (rest.length < 5) return
      const length = 1 + rest.readUInt32BE(1)
      if (rest.length < length) return
      onMessage(String.fromCharCode(rest[0]!), rest.subarray(5, length))
      rest = rest.subarray(length)
    }
  }
}

/** The plan in a NoticeResponse, if it is one of auto_explain: fields of a letter and a text that ends with a zero, `M` the message. */
function planOf(notice: Buffer): Explained | null {
  const message = notice
    .toString('utf8')
    .split('\0')
    .find((field) => field.startsWith('Mduration: '))
  const start = message?.indexOf('{') ?? -1
  if (message === undefined || start < 0) return null
  const { 'Query Text': text, Plan: plan } = JSON.parse(message.slice(start))
  return { text, plan }
}

function startProxy(port: number, socketPath: string, onPlan: (explained: Explained) => void): net.Server {
  const server = net.createServer((client) => {
    const postgres = net.connect(socketPath)
    const read = readMessages((type, body) => {
      const explained = type === 'N' ? planOf(body) : null
      if (explained) onPlan(explained)
    })
    postgres.on('data', read)
    client.pipe(postgres).pipe(client)
    client.on('error', () => postgres.destroy())
    postgres.on('error', () => client.destroy())
  })
  return server.listen(port, '127.0.0.1')
}

export async function createExplainedDatabase(): Promise<ExplainedDatabase> {
  const own = await createDatabase()
  const url = new URL(own.url)
  const name = url.pathname.slice(1)
  const client = new pg.Client(own.url)
  await client.connect()
  for (const [setting, value] of Object.entries(settings)) {
    await client.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`)
  }
  await client.end()
  const explained: Explained[] = []
  const port = await freePort()
  const socketPath = `${url.searchParams.get('host')}/.s.PGSQL.5432`
  const server = startProxy(port, socketPath, (seen) => explained.push(seen))
  const stop = async () => {
    server.close()
    await own.drop()
  }
  return {
    url: `postgresql://postgres@127.0.0.1:${port}/${name}`,
    directUrl: own.url,
    explained,
    stop,
  }
}

/** A node and all below it. */
export const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]

/** What a node looked at each time, whether it was wanted or not. */
export function rowsPerLoop(node: PlanNode): number {
  return (
    (node['Actual Rows'] ?? 0) +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0)
  )
}

/** A table of a few pages, such as a day that has just begun, is read whole at less cost than through an index. */
export function isSmallAndWhole(node: PlanNode): boolean {
  return node['Node Type'] === 'Seq Scan' && rowsPerLoop(node) <= 1_000
}

/** Rows of tables that were looked at, over all loops; small tables that were read whole left out. */
export function rowsTouched(plan: PlanNode): number {
  const touched = nodesOf(plan).map((node) =>
    node['Relation Name'] === undefined || isSmallAndWhole(node)
      ? 0
      : (node['Actual Loops'] ?? 0) * rowsPerLoop(node),
  )
  return touched.reduce((sum, rows) => sum + rows, 0)
}

/** The tables, partitions among them, that were really opened. */
export function tablesOpened(plan: PlanNode): string[] {
  const opened = nodesOf(plan).filter((node) => (node['Actual Loops'] ?? 0) > 0)
  return [...new Set(opened.flatMap((node) => node['Relation Name'] ?? []))]
}
