/** Shows what became of a tenant's mail: counts, rates and latencies by hour, by day or in all, and by what the mails differ in. */
import {
  type Caller,
  invalidRequest,
  type LatencyCount,
  type LatencyPercentiles,
  latencyPercentiles,
  type OutcomeCounts,
  type OutcomeRates,
  outcomeRates,
  outcomes,
  type Stream,
} from '@valija/core'
import {
  type Database,
  readStats,
  type StatsAnswer,
  type StatsCount,
  type StatsGroup,
  type StatsPlace,
  type StatsQuestion,
  statsKeptDays,
} from '@valija/store'

export interface StatsRequest {
  afterMs?: number
  beforeMs?: number
  interval: 'hour' | 'day' | 'total'
  group_by?: StatsGroup
  groups: number
  domain?: string
  stream?: Stream
  provider?: string
  tag?: string
}

export type StatsRow = {
  start: string
  bounced_by_reason: Record<string, number>
  deferred_by_reason: Record<string, number>
  failed_by_reason: Record<string, number>
  latency_ms: LatencyPercentiles | null
} & { [Group in StatsGroup]?: string | null } & OutcomeCounts &
  OutcomeRates

export interface StatsView {
  data: StatsRow[]
  after: string
  before: string
  interval: StatsRequest['interval']
  as_of: string | null
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const lengthMs = { hour: hourMs, day: dayMs } as const
/** What is asked for at once, at most: hours of a month, and all days that are kept. */
const longestMs = { hour: 31 * dayMs, day: statsKeptDays.day * dayMs } as const
const usualMs = { hour: dayMs, day: 7 * dayMs, total: 7 * dayMs } as const
/** Some 3 MB. */
const mostRows = 5_000

/** @throws {ProductError} invalid_request */
export async function showStats(
  desk: { database: Database; nowMs: () => number },
  { tenantId }: Caller,
  request: StatsRequest,
): Promise<StatsView> {
  const question = questionOf(request, desk.nowMs())
  const answer = await readStats(desk.database, tenantId, question)
  return {
    data: rowsOf(answer, question),
    after: question.after.toISOString(),
    before: question.before.toISOString(),
    interval: request.interval,
    as_of: answer.asOf?.toISOString() ?? null,
  }
}

function questionOf(request: StatsRequest, nowMs: number): StatsQuestion {
  const { interval, group_by: group = null, groups } = request
  const beforeMs = request.beforeMs ?? nowMs
  const afterMs = request.afterMs ?? beforeMs - usualMs[interval]
  if (afterMs >= beforeMs) throw invalidRequest([{ path: 'after', message: 'must be earlier than before' }])
  const span = interval === 'total' ? finestSpan(afterMs, beforeMs, nowMs) : interval
  const length = lengthMs[span]
  const after = Math.floor(afterMs / length) * length
  const before = Math.ceil(beforeMs / length) * length
  checkRange(span, { afterMs: after, beforeMs: before, nowMs })
  const spans = interval === 'total' ? 1 : (before - after) / length
  if (group !== null && spans * (groups + 1) > mostRows) {
    const fitting = Math.floor(mostRows / (groups + 1))
    const message = `would answer more than ${mostRows} rows: ask for at most ${fitting} ${span}s at once, or for fewer groups`
    throw invalidRequest([{ path: 'groups', message }])
  }
  return {
    span,
    after: new Date(after),
    before: new Date(before),
    isPerSpan: interval !== 'total',
    group,
    groupsMost: groups,
    only: onlyOf(request),
  }
}

/** Whole hours where they are there, else whole days. */
function finestSpan(afterMs: number, beforeMs: number, nowMs: number): 'hour' | 'day' {
  const isKept = afterMs >= nowMs - (statsKeptDays.hour - 1) * dayMs
  return isKept && beforeMs - afterMs <= longestMs.hour ? 'hour' : 'day'
}

function checkRange(
  span: 'hour' | 'day',
  { afterMs, beforeMs, nowMs }: { afterMs: number; beforeMs: number; nowMs: number },
): void {
  // The hour or day in which the range begins may be there in part.
  const oldestMs = nowMs - statsKeptDays[span] * dayMs - lengthMs[span]
  const kept = `${span}s are kept for ${statsKeptDays[span]} days`
  const further = span === 'hour' ? '; interval=day goes further back' : ''
  if (afterMs < oldestMs) throw invalidRequest([{ path: 'after', message: `${kept}${further}` }])
  const longest = longestMs[span]
  if (beforeMs - afterMs > longest + lengthMs[span]) {
    const message = `must be at most ${longest / dayMs} days after \`after\` with interval=${span}`
    throw invalidRequest([{ path: 'before', message }])
  }
}

function onlyOf({ domain, stream, provider, tag, group_by }: StatsRequest): StatsQuestion['only'] {
  const byMail = {
    ...(domain !== undefined && { domain: domain.toLowerCase() }),
    ...(stream !== undefined && { stream }),
    ...(provider !== undefined && { provider }),
  }
  const others = [...Object.keys(byMail), ...(group_by === undefined || group_by === 'tag' ? [] : [group_by])]
  const isByTag = tag !== undefined || group_by === 'tag'
  if (isByTag && others.length > 0) {
    const message = `tags are counted by themselves: not together with ${others.join(', ')}`
    throw invalidRequest([{ path: tag === undefined ? 'group_by' : 'tag', message }])
  }
  return tag === undefined ? byMail : { tag }
}

interface Sum {
  place: StatsPlace
  counts: StatsCount[]
  latencies: LatencyCount[]
}

/** In order of time, and in each hour or day the group in which most happened first, the rest last. */
function rowsOf({ counts, latencies }: StatsAnswer, question: StatsQuestion): StatsRow[] {
  const sums = new Map<string, Sum>()
  const sumAt = ({ startsAt, name }: StatsPlace): Sum => {
    const key = JSON.stringify([startsAt?.getTime() ?? null, name])
    const present = sums.get(key)
    if (present) return present
    const made: Sum = { place: { startsAt, name }, counts: [], latencies: [] }
    sums.set(key, made)
    return made
  }
  for (const count of counts) sumAt(count).counts.push(count)
  for (const latency of latencies ?? []) sumAt(latency).latencies.push(latency)
  const size = ({ counts: parts }: Sum) => parts.reduce((total, { count }) => total + count, 0)
  return [...sums.values()]
    .sort(
      (a, b) =>
        (a.place.startsAt?.getTime() ?? 0) - (b.place.startsAt?.getTime() ?? 0) ||
        Number(a.place.name === '') - Number(b.place.name === '') ||
        size(b) - size(a),
    )
    .map((sum) => rowOf(sum, question))
}

function rowOf({ place, counts, latencies }: Sum, { group, after }: StatsQuestion): StatsRow {
  const total = (wanted: string) =>
    counts.reduce((sum, { outcome, count }) => (outcome === wanted ? sum + count : sum), 0)
  const byReason = (wanted: string) =>
    Object.fromEntries(
      counts
        .filter(({ outcome }) => outcome === wanted)
        .sort((a, b) => b.count - a.count)
        .map(({ reason, count }) => [reason, count]),
    )
  const totals = {
    ...(Object.fromEntries(outcomes.map((outcome) => [outcome, total(outcome)])) as OutcomeCounts),
    hard_bounced: total('hard_bounced'),
  }
  return {
    start: (place.startsAt ?? after).toISOString(),
    ...(group !== null && { [group]: place.name || null }),
    ...totals,
    bounced_by_reason: byReason('bounced'),
    deferred_by_reason: byReason('deferred'),
    failed_by_reason: byReason('failed'),
    ...outcomeRates(totals),
    latency_ms: latencyPercentiles(latencies),
  }
}
