/**
 * Permits of receiving sites, shared by all workers (DESIGN 4.15): places for connections, which expire with the worker's
 * heartbeat, and slots for mails, drawn some at a time. The migration's two functions do the counting.
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'

/** How long a worker's places hold without a word from it, in milliseconds: as long as its leases. */
export const permitTtlMs = 30_000

export interface PermitRequest {
  scopeKey: string
  /** Places that the worker has now: what is not said here is given back. */
  held: number
  /** How many more it would like. */
  wanted: number
  /** Of all workers together. */
  limit: number
}

export interface PermitAnswer {
  granted: number
  /** Other workers that have places or wait for some. */
  rivals: number
  /** Other workers that wait and have less than an equal part of the places. */
  waiting: number
  /** Whether what the worker said it held is still its own. */
  kept: boolean
}

/** Says what a worker holds at these sites and asks for more; absolute, so an answer that gets lost costs nothing. */
export async function exchangePermits(
  pool: pg.Pool,
  workerId: Uuid,
  requests: readonly PermitRequest[],
): Promise<Map<string, PermitAnswer>> {
  const result = await pool.query<PermitAnswer & { key: string }>({
    name: 'exchange-site-permits',
    text: `SELECT key, granted, rivals, waiting, kept
           FROM valija.exchange_site_permits($1, make_interval(secs => ${permitTtlMs / 1000}), $2, $3, $4, $5)`,
    values: [
      workerId,
      requests.map((request) => request.scopeKey),
      requests.map((request) => request.held),
      requests.map((request) => request.wanted),
      requests.map((request) => request.limit),
    ],
  })
  return new Map(result.rows.map(({ key, ...answer }) => [key, answer]))
}

export interface SlotRequest {
  scopeKey: string
  count: number
  /** From slot to slot, in milliseconds. */
  spacingMs: number
}

export interface SlotAnswer {
  /** The next slot, in milliseconds of PostgreSQL's clock. */
  firstMs: number
  /** How many were drawn, from that one on; 0: it is farther ahead than the horizon, ask again then. */
  drawn: number
}

/** Draws the next slots of sites, as far as they are not more than `horizonMs` ahead. */
export async function drawSlots(
  pool: pg.Pool,
  requests: readonly SlotRequest[],
  horizonMs: number,
): Promise<Map<string, SlotAnswer>> {
  const result = await pool.query<SlotAnswer & { key: string }>({
    name: 'draw-site-slots',
    text: 'SELECT key, first_ms AS "firstMs", drawn FROM valija.draw_site_slots($1, $2, $3, $4)',
    values: [
      requests.map((request) => request.scopeKey),
      requests.map((request) => request.count),
      requests.map((request) => request.spacingMs),
      horizonMs,
    ],
  })
  return new Map(result.rows.map(({ key, ...answer }) => [key, answer]))
}

/** A stopping worker gives back all its places. */
export async function returnPermits(pool: pg.Pool, workerId: Uuid): Promise<void> {
  await pool.query('DELETE FROM valija.shaping_permits WHERE worker_id = $1', [workerId])
}
