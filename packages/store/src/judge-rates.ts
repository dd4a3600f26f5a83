/**
 * Judging tenants' rates by what was counted of their mail: of those of whom something was counted since the last time, and of those with an
 * alarm, which may be over. One process at a time; what is told is written with the event that tells it, so it is told once. Nothing is written
 * before all is judged: a transaction that has written holds back every tenant's stream of events.
 */
import {
  type AlarmChange,
  type AlarmCounts,
  type AlarmKind,
  type AlarmLimits,
  alarmWindowHours,
  type Stream,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { isOurTurn } from './count-events.ts'
import { inTransaction } from './database.ts'
import { eventExpressionsOf } from './new-events.ts'
import { type BulkPause, pauseBulk } from './pause-bulk.ts'

/** A stream of a tenant's, with what happened to it in the time that is judged. */
export interface JudgedStream {
  tenantId: Uuid
  isDefault: boolean
  /** The tenant's own. */
  limits: Partial<AlarmLimits>
  stream: Stream
  counts: AlarmCounts
  /** The same since its bulk mail was let go last; null while that is held, and of the other stream. */
  countsToPause: AlarmCounts | null
  raised: AlarmKind[]
}

export interface Verdict {
  alarms: AlarmVerdict[]
  /** Its bulk mail is to be held. */
  pause: { tenantId: Uuid; pause: BulkPause; words: { explanation: string; remedy: string } } | null
}

export interface AlarmVerdict {
  tenantId: Uuid
  stream: Stream
  change: AlarmChange
  /** For whoever reads the event. */
  words: { explanation: string; remedy: string }
}

export interface JudgeOutcome {
  /** Alarms that began or are over. */
  changes: number
  /** Tenants whose bulk mail is held from now on. */
  paused: Uuid[]
  hasWebhooks: boolean
}

/**
 * @param notWithinMs nothing is done when somebody judged within this time
 * @param judge what follows for each stream
 */
export function judgeRates(
  pool: pg.Pool,
  notWithinMs: number,
  judge: (stream: JudgedStream) => Verdict,
): Promise<JudgeOutcome> {
  return inTransaction(pool, 'BEGIN', async (client) => {
    const turn = await client.query<{ judgedAt: string }>({
      name: 'take-judging',
      text: `SELECT judged_at::text AS "judgedAt" FROM valija.stats_state
        WHERE judged_at NOT BETWEEN now() - make_interval(secs => $1) AND now() AND ${isOurTurn('judge')}`,
      values: [notWithinMs / 1_000],
    })
    const since = turn.rows[0]?.judgedAt
    if (since === undefined) return { changes: 0, paused: [], hasWebhooks: false }
    const verdicts = (await readStreams(client, since)).map(judge)
    const alarms = verdicts.flatMap((verdict) => verdict.alarms)
    let hasWebhooks = alarms.length > 0 && (await tellAlarms(client, alarms))
    const paused: Uuid[] = []
    for (const { pause: wanted } of verdicts) {
      if (wanted === null) continue
      const outcome = await pauseBulk(client, wanted.tenantId, wanted.pause, wanted.words)
      if (outcome.isChanged) paused.push(wanted.tenantId)
      hasWebhooks ||= outcome.hasWebhooks
    }
    await client.query({ name: 'leave-judging', text: 'UPDATE valija.stats_state SET judged_at = now()' })
    return { changes: alarms.length, paused, hasWebhooks }
  })
}

/** What had begun before the last time may have been counted after it. */
const overlap = `interval '1 minute'`

const judgedOutcomes = ['delivered', 'deferred', 'bounced', 'hard_bounced', 'complained'] as const

/** Sums of those hours `s` that meet the condition, as an object. */
const sumsSql = (condition: string) =>
  `jsonb_build_object(${judgedOutcomes
    .map(
      (name) => `'${name}', coalesce(sum(s.count) FILTER (WHERE s.outcome = '${name}' AND ${condition}), 0)`,
    )
    .join(', ')})`

/** Each tenant's hours are read once, for both streams, and of them only what is judged: there is a row for each domain, provider and reason. */
async function readStreams(client: pg.PoolClient, since: string): Promise<JudgedStream[]> {
  const { rows } = await client.query<JudgedStream>({
    name: 'read-judged-streams',
    text: `
WITH judged AS (
  SELECT tenant_id FROM valija.stats_cursors WHERE moved_at >= $1::timestamptz - ${overlap}
  UNION SELECT tenant_id FROM valija.alarms
)
SELECT t.id AS "tenantId", t.is_default AS "isDefault", coalesce(t.limits -> 'alarms', '{}') AS limits, stream.name AS stream,
  ARRAY(SELECT a.alarm FROM valija.alarms AS a WHERE a.tenant_id = t.id AND a.stream = stream.name) AS raised,
  stream.counts, stream."countsToPause"
FROM judged JOIN valija.tenants AS t ON t.id = judged.tenant_id
CROSS JOIN LATERAL (
  SELECT ${sumsSql("s.stream = 'transactional'")} AS transactional, ${sumsSql("s.stream = 'bulk'")} AS bulk,
    ${sumsSql("s.stream = 'bulk' AND s.starts_at > coalesce(t.bulk_resumed_at, '-infinity')")} AS resumed
  FROM valija.stats AS s
  WHERE s.tenant_id = t.id AND s.span = 'hour' AND s.starts_at > now() - interval '${alarmWindowHours} hours'
    AND s.outcome IN (${judgedOutcomes.map((name) => `'${name}'`).join(', ')})
) AS counted
CROSS JOIN LATERAL (VALUES
  ('transactional', counted.transactional, NULL),
  ('bulk', counted.bulk, CASE WHEN t.bulk_paused_at IS NULL THEN counted.resumed END)
) AS stream (name, counts, "countsToPause")`,
    values: [since],
  })
  return rows
}

/** Keeps which are raised, and writes an event for each that begins or is over. */
async function tellAlarms(client: pg.PoolClient, verdicts: readonly AlarmVerdict[]): Promise<boolean> {
  const { rows } = await client.query<{ hasWebhooks: boolean }>({
    name: 'tell-alarms',
    text: `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) AS input (tenant_id, stream, alarm, state, data)
), begun AS (
  INSERT INTO valija.alarms (tenant_id, stream, alarm, figures)
  SELECT tenant_id, stream, alarm, data FROM input WHERE state = 'raised'
  ON CONFLICT DO NOTHING
  RETURNING tenant_id, stream, alarm
), ended AS (
  DELETE FROM valija.alarms AS a USING input
  WHERE input.state = 'cleared' AND a.tenant_id = input.tenant_id AND a.stream = input.stream AND a.alarm = input.alarm
  RETURNING a.tenant_id, a.stream, a.alarm
), ${eventExpressionsOf(`
  SELECT input.tenant_id, 'tenant.alarm' AS type, input.data
  FROM input JOIN (SELECT * FROM begun UNION ALL SELECT * FROM ended) AS changed USING (tenant_id, stream, alarm)`)}
SELECT EXISTS (SELECT FROM outbox) AS "hasWebhooks"`,
    values: [
      verdicts.map(({ tenantId }) => tenantId),
      verdicts.map(({ stream }) => stream),
      verdicts.map(({ change }) => change.alarm),
      verdicts.map(({ change }) => change.state),
      verdicts.map(({ stream, change, words }) => JSON.stringify(alarmData(stream, change, words))),
    ],
  })
  return rows[0]?.hasWebhooks ?? false
}

function alarmData(
  stream: Stream,
  { alarm, state, rate, limit, count, volume }: AlarmChange,
  words: AlarmVerdict['words'],
): object {
  const figures = { rate, limit, count, volume, hours: alarmWindowHours }
  return { alarm, state, stream, ...figures, ...(state === 'raised' && words) }
}
