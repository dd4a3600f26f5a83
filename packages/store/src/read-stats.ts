/**
 * Reading the statistics that count-events.ts has counted: sums by interval and by one of the columns, of a tenant's own rows.
 *
 * What is read is bounded by what an hour or a day can have and by the caller's range.
 */
import type { hardBounced, LatencyCount, Outcome, Uuid } from '@valija/core'
import { type Database, readAsTenant } from './database.ts'

/** What statistics can be told apart by. Tags are counted apart: a mail has several. */
export const statsGroups = ['domain', 'stream', 'provider', 'tag'] as const
export type StatsGroup = (typeof statsGroups)[number]

export interface StatsQuestion {
  /** Whether hours are summed up, or days. */
  span: 'hour' | 'day'
  after: Date
  /** Before this time; both are starts of hours or days in UTC. */
  before: Date
  /** Whether each hour or day is told by itself. */
  isPerSpan: boolean
  group: StatsGroup | null
  /** With `group`: the groups in which most happened, at most so many; the rest is summed up as if it had no name. */
  groupsMost: number
  /** Only these; of `tag` and the others only one kind is asked for. */
  only: Partial<Record<StatsGroup, string>>
}

/** A sum. `startsAt` is null where spans are not told apart, `name` null without a group, empty for the rest. */
export interface StatsPlace {
  startsAt: Date | null
  name: string | null
}

export interface StatsCount extends StatsPlace {
  outcome: Outcome | typeof hardBounced
  reason: string
  count: number
}

export interface StatsLatency extends StatsPlace, LatencyCount {}

export interface StatsAnswer {
  counts: StatsCount[]
  /** Null where latencies are not told apart by what was asked for. */
  latencies: StatsLatency[] | null
  /** All that /events showed by then is counted; null: nothing yet. */
  asOf: Date | null
}

const latencyGroups: readonly StatsGroup[] = ['stream', 'provider']

export function readStats(database: Database, tenantId: Uuid, question: StatsQuestion): Promise<StatsAnswer> {
  const { group, only } = question
  const asked = [...(group === null ? [] : [group]), ...(Object.keys(only) as StatsGroup[])]
  const table = asked.includes('tag') ? 'tag_stats' : 'stats'
  const hasLatency = asked.every((name) => latencyGroups.includes(name))
  return readAsTenant(database, tenantId, async (client) => {
    const values = parametersOf(tenantId, question)
    const counts = await client.query<StatsCount>(
      sumSql(table, question, ['outcome', 'reason'], table),
      values,
    )
    const latencies = hasLatency
      ? await client.query<StatsLatency>(sumSql('latency_stats', question, ['bucket'], table), values)
      : null
    const state = await client.query<{ asOf: Date | null }>('SELECT as_of AS "asOf" FROM valija.stats_state')
    return {
      counts: counts.rows,
      latencies: latencies === null ? null : latencies.rows,
      asOf: state.rows[0]?.asOf ?? null,
    }
  })
}

function parametersOf(tenantId: Uuid, { span, after, before, groupsMost, only }: StatsQuestion): unknown[] {
  return [tenantId, span, after, before, groupsMost, ...Object.values(only)]
}

/** The parameters from $6 on are the values of `only`, in its order. */
function whereSql({ only }: StatsQuestion): string {
  const filters = Object.keys(only).map((column, index) => ` AND s.${column} = $${index + 6}`)
  return `s.tenant_id = $1 AND s.span = $2 AND s.starts_at >= $3 AND s.starts_at < $4${filters.join('')}`
}

/**
 * @param columns what is told apart besides
 * @param ranked the table that says which groups are the largest
 */
function sumSql(table: string, question: StatsQuestion, columns: readonly string[], ranked: string): string {
  const { isPerSpan, group } = question
  const where = whereSql(question)
  const keys = [...columns, ...(isPerSpan ? ['s.starts_at'] : [])]
  const name = group === null ? 'NULL::text' : `CASE WHEN large.name IS NULL THEN '' ELSE s.${group} END`
  const large =
    group === null
      ? ''
      : `LEFT JOIN (
          SELECT s.${group} AS name FROM valija.${ranked} AS s WHERE ${where} AND s.${group} <> ''
          GROUP BY 1 ORDER BY sum(s.count) DESC, 1 LIMIT $5::integer
        ) AS large ON large.name = s.${group}`
  return `
    SELECT ${isPerSpan ? 's.starts_at' : 'NULL::timestamptz'} AS "startsAt", ${name} AS name, ${columns.join(', ')}, sum(s.count)::float8 AS count
    FROM valija.${table} AS s ${large}
    WHERE ${where} ${group === null ? 'AND $5::integer IS NOT NULL' : ''}
    GROUP BY ${[...keys, '2'].join(', ')}`
}
