/**
 * Who looks after which mailbox, as workers share it, and what they write of it. A mailbox is one worker's until its lease is over: so that a
 * POP3 mailbox is not locked by ourselves, and no mail is read twice for nothing. That two may read one is harmless: a report is applied once.
 *
 * All of it by PostgreSQL's clock. Whoever does not hold a mailbox any more writes nothing of it.
 */
import type { MailboxTrouble, Uuid } from '@valija/core'
import type pg from 'pg'
import { dueNowSql } from './due-now.ts'
import type { MailboxProtocol, MailboxTls } from './mailboxes.ts'

export interface HeldMailbox {
  id: Uuid
  /** Of this claim alone: of an earlier one of the same process nothing is written any more. */
  holder: Uuid
  tenantId: Uuid | null
  protocol: MailboxProtocol
  host: string
  port: number
  tls: MailboxTls
  username: string
  password: Buffer
  folder: string | null
  doneFolder: string | null
  /** Looks in a row that failed. */
  failures: number
}

type Held = Pick<HeldMailbox, 'id' | 'holder'>

const lease = `now() + make_interval(secs => $2::float8 / 1000)`

const isDue = `state = 'enabled' AND next_look_at <= now() AND (held_until IS NULL OR held_until <= now())`

export interface MailboxClaim {
  /** A new id for each claim. */
  holder: Uuid
  leaseMs: number
  limit: number
  /** An owner gets no more than makes so many with those that this worker holds already, whose owners are `owners`. */
  maxOfOwner: number
  owners: readonly (Uuid | null)[]
}

/** Takes mailboxes that are due and nobody's, those first that have waited longest. */
export async function claimMailboxes(
  engine: pg.Pool,
  { holder, leaseMs, limit, maxOfOwner, owners }: MailboxClaim,
): Promise<HeldMailbox[]> {
  const { rows } = await engine.query<HeldMailbox>(
    `WITH numbered AS MATERIALIZED (
       SELECT id, row_number() OVER (PARTITION BY tenant_id ORDER BY next_look_at) + (
           SELECT count(*) FROM unnest($5::uuid[]) AS owner WHERE owner IS NOT DISTINCT FROM tenant_id) AS number
       FROM valija.mailboxes WHERE ${isDue}),
     due AS (
       SELECT mailbox.id FROM valija.mailboxes AS mailbox JOIN numbered ON numbered.id = mailbox.id
       WHERE number <= $4 AND ${isDue}
       ORDER BY next_look_at LIMIT $3 FOR UPDATE OF mailbox SKIP LOCKED)
     UPDATE valija.mailboxes AS mailbox SET holder = $1, held_until = ${lease} FROM due WHERE mailbox.id = due.id
     RETURNING mailbox.id, holder, tenant_id AS "tenantId", protocol, host, port, tls, username, password, folder,
       done_folder AS "doneFolder", failures`,
    [holder, leaseMs, limit, maxOfOwner, owners],
  )
  return rows
}

/** @returns the ids of those that are still held: one that was changed, paused, deleted or taken over is not */
export async function renewMailboxes(
  engine: pg.Pool,
  mailboxes: readonly Held[],
  leaseMs: number,
): Promise<ReadonlySet<Uuid>> {
  const { rows } = await engine.query<{ id: Uuid }>(
    `UPDATE valija.mailboxes AS mailbox SET held_until = ${lease}
     FROM unnest($1::uuid[], $3::uuid[]) AS held (id, holder)
     WHERE mailbox.id = held.id AND mailbox.holder = held.holder AND state = 'enabled'
     RETURNING mailbox.id`,
    [mailboxes.map(({ id }) => id), leaseMs, mailboxes.map(({ holder }) => holder)],
  )
  return new Set(rows.map(({ id }) => id))
}

/** In how many milliseconds the next mailbox is due that nobody holds then; null when there is none. */
export async function nextMailboxDueInMs(engine: pg.Pool): Promise<number | null> {
  const { rows } = await engine.query<{ inMs: number | null }>(
    `SELECT extract(epoch FROM min(greatest(next_look_at, held_until)) - now())::float8 * 1000 AS "inMs"
     FROM valija.mailboxes WHERE state = 'enabled'`,
  )
  return rows[0]?.inMs ?? null
}

export interface MailboxCounts {
  applied: number
  reports: number
  ignored: number
  other: number
}

/** Adds what some mails came to, and remembers those that stay where they are. */
export async function noteMailboxMails(
  engine: pg.Pool,
  mailboxId: Uuid,
  counts: MailboxCounts,
  leftUids: readonly string[],
): Promise<void> {
  await engine.query(
    `WITH counted AS (
       UPDATE valija.mailboxes SET applied_count = applied_count + $3, report_count = report_count + $4,
         ignored_count = ignored_count + $5, other_count = other_count + $6
       WHERE id = $1 RETURNING id)
     INSERT INTO valija.mailbox_mails (mailbox_id, uid) SELECT counted.id, uid FROM counted, unnest($2::text[]) AS uid
     ON CONFLICT DO NOTHING`,
    [mailboxId, leftUids, counts.applied, counts.reports, counts.ignored, counts.other],
  )
}

/** The mails that were read and stay where they are. */
export async function readKnownMails(engine: pg.Pool, mailboxId: Uuid): Promise<ReadonlySet<string>> {
  const { rows } = await engine.query<{ uid: string }>(
    'SELECT uid FROM valija.mailbox_mails WHERE mailbox_id = $1',
    [mailboxId],
  )
  return new Set(rows.map(({ uid }) => uid))
}

/** Forgets mails that are not in the mailbox any more. */
export async function forgetKnownMails(
  engine: pg.Pool,
  mailboxId: Uuid,
  uids: readonly string[],
): Promise<void> {
  await engine.query('DELETE FROM valija.mailbox_mails WHERE mailbox_id = $1 AND uid = ANY ($2::text[])', [
    mailboxId,
    uids,
  ])
}

/** A look went well. @returns whether it is told for the first time after failures */
export async function noteGoodLook(
  engine: pg.Pool,
  { id, holder }: Held,
): Promise<{ hasRecovered: boolean }> {
  const { rows } = await engine.query<{ hasRecovered: boolean }>(
    `WITH before AS (SELECT id, failures FROM valija.mailboxes WHERE id = $1 AND holder = $2 FOR UPDATE)
     UPDATE valija.mailboxes AS mailbox
     SET looked_at = now(), failing_since = NULL, failures = 0, error_code = NULL, error_detail = NULL
     FROM before WHERE mailbox.id = before.id RETURNING before.failures > 0 AS "hasRecovered"`,
    [id, holder],
  )
  return rows[0] ?? { hasRecovered: false }
}

/** A look failed: it is given back, to be looked at again after a pause. */
export async function noteFailedLook(
  engine: pg.Pool,
  { id, holder }: Held,
  trouble: MailboxTrouble & { pauseMs: number },
): Promise<void> {
  await engine.query(
    `UPDATE valija.mailboxes
     SET failures = failures + 1, failing_since = coalesce(failing_since, now()), error_code = $3, error_detail = $4,
       holder = NULL, held_until = NULL, next_look_at = now() + make_interval(secs => $5::float8 / 1000)
     WHERE id = $1 AND holder = $2`,
    [id, holder, trouble.code, trouble.detail, trouble.pauseMs],
  )
}

/** Gives a mailbox back, to be looked at by whoever is first, in so many milliseconds. */
export async function releaseMailbox(
  engine: Pick<pg.Pool, 'query'>,
  { id, holder }: Held,
  nextLookInMs: number,
): Promise<void> {
  await engine.query(
    `UPDATE valija.mailboxes SET holder = NULL, held_until = NULL, next_look_at = ${dueNowSql} + make_interval(secs => $3::float8 / 1000)
     WHERE id = $1 AND holder = $2`,
    [id, holder, nextLookInMs],
  )
}
