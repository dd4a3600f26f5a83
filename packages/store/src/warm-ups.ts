/**
 * How far each source's warm-up has come with each provider. Workers draw rights to send in chunks, with the row locked, so the
 * caps hold over all of them; what came of the mails is added with the next draw, or by itself.
 */
import { drawWarmUp, type Uuid, type WarmUpDraw, type WarmUpPlan, type WarmUpState } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { earliestIdOf } from './message-ids.ts'

/** All receivers that the shaping data does not know warm up as one. */
export const otherProvider = 'other'

export interface WarmUpKey {
  sourceId: Uuid
  provider: string
}

/** What came of mails, since it was last told. */
export interface WarmUpOutcomes {
  handedOff: number
  deferred: number
}

interface Row {
  nowMs: number
  stage: number
  dayBeganMs: number
  hourBeganMs: number
  drawnInDay: number
  drawnInHour: number
  handedOff: number
  deferred: number
  complained: number
}

const columns = `stage, (extract(epoch FROM day_began_at) * 1000)::float8 AS "dayBeganMs",
  (extract(epoch FROM hour_began_at) * 1000)::float8 AS "hourBeganMs", drawn_in_day AS "drawnInDay", drawn_in_hour AS "drawnInHour",
  handed_off AS "handedOff", deferred, complained, (extract(epoch FROM now()) * 1000)::float8 AS "nowMs"`

/**
 * Adds outcomes and takes rights to send.
 *
 * @param wanted how many at most; 0: only adds
 * @returns with how long the hour still lasts, in which they are to be used; null when the source is gone
 */
export async function drawFromWarmUp(
  database: Database,
  { sourceId, provider }: WarmUpKey,
  plan: WarmUpPlan,
  outcomes: WarmUpOutcomes,
  wanted: number,
): Promise<(WarmUpDraw & { hourLeftMs: number }) | null> {
  return asEngine(database, async (client) => {
    const source = await client.query(`SELECT FROM valija.source_ips WHERE id = $1 FOR KEY SHARE`, [sourceId])
    if (source.rowCount === 0) return null
    await client.query(
      `INSERT INTO valija.warm_ups (source_id, provider) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
      [sourceId, provider],
    )
    const found = await client.query<Row>(
      `SELECT ${columns} FROM valija.warm_ups WHERE source_id = $1 AND provider = $2 FOR UPDATE`,
      [sourceId, provider],
    )
    const { nowMs, ...state } = found.rows[0]!
    const counted = {
      ...state,
      handedOff: state.handedOff + outcomes.handedOff,
      deferred: state.deferred + outcomes.deferred,
    }
    const draw = drawWarmUp(plan, counted, nowMs, wanted)
    await writeState(client, { sourceId, provider }, draw.state)
    return { ...draw, hourLeftMs: Math.max(0, draw.state.hourBeganMs + 3_600_000 - nowMs) }
  })
}

async function writeState(client: pg.PoolClient, key: WarmUpKey, state: WarmUpState): Promise<void> {
  await client.query(
    `UPDATE valija.warm_ups SET stage = $3, day_began_at = to_timestamp($4::float8 / 1000),
       hour_began_at = to_timestamp($5::float8 / 1000), drawn_in_day = $6, drawn_in_hour = $7, handed_off = $8, deferred = $9, complained = $10
     WHERE source_id = $1 AND provider = $2`,
    [
      key.sourceId,
      key.provider,
      state.stage,
      state.dayBeganMs,
      state.hourBeganMs,
      state.drawnInDay,
      state.drawnInHour,
      state.handedOff,
      state.deferred,
      state.complained,
    ],
  )
}

/**
 * Counts a complaint for the source that the mail left from, by its last attempt, with the provider of the recipient's domain; for
 * nobody where the mail left from no source of ours, or from one that is warm.
 *
 * @param client in the transaction that writes the complaint
 */
export async function countComplaint(
  client: pg.PoolClient,
  { recipientId, messageId, domain }: { recipientId: Uuid; messageId: Uuid; domain: string },
): Promise<void> {
  await client.query({
    name: 'count-complaint',
    text: `
WITH last AS MATERIALIZED (
  SELECT a.report ->> 'source_ip' AS ip FROM valija.attempts AS a
  WHERE a.message_id = $2 AND a.recipient_id = $1 AND a.id > $4 ORDER BY a.number DESC, a.id DESC LIMIT 1
)
UPDATE valija.warm_ups AS w SET complained = complained + 1
FROM last, valija.source_ips AS s
WHERE w.source_id = s.id AND last.ip IN (s.bind, s.ipv6)
  AND w.provider = coalesce((
    SELECT d.provider FROM valija.destinations AS d WHERE d.domain = $3 AND d.provider IS NOT NULL ORDER BY d.seen_at DESC LIMIT 1), '${otherProvider}')`,
    values: [recipientId, messageId, domain, earliestIdOf(messageId)],
  })
}

/** Begins a warm-up anew at a stage, with every provider. */
export async function restartWarmUps(engine: pg.Pool, sourceId: Uuid): Promise<void> {
  await engine.query(`DELETE FROM valija.warm_ups WHERE source_id = $1`, [sourceId])
}

export type WarmUpProgress = WarmUpState & WarmUpKey & { nowMs: number }

/** How far these sources have come with each provider, as it was last written. */
export async function readWarmUps(engine: pg.Pool, sourceIds: readonly Uuid[]): Promise<WarmUpProgress[]> {
  const found = await engine.query<WarmUpProgress>(
    `SELECT source_id AS "sourceId", provider, ${columns} FROM valija.warm_ups WHERE source_id = ANY ($1::uuid[]) ORDER BY provider`,
    [sourceIds],
  )
  return found.rows
}
