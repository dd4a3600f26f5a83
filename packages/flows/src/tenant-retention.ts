/** Housekeeping for tenants whose mail is kept for a shorter time than others' (store/tenant-retention.ts). */
import { formatId, steadyNowMs, type Uuid } from '@valija/core'
import {
  type Database,
  deleteOldMessages,
  deleteOldTraces,
  findRetentions,
  type RetentionPlace,
  redactOldMessages,
  type TenantRetention,
} from '@valija/store'
import { leisurely } from './leisure.ts'

export interface RetentionParts {
  database: Database
  stop: AbortSignal
  onError: (error: Error) => void
}

/** The other housekeeping waits for a round, which may have the mail of years before it where a tenant has just asked for less. */
const usualRoundMs = 60_000
/** Years of mail to be deleted or redacted at once are so in half of the time, and the mail that is to be sent has the other half. */
const restFactor = 1

/** `unfinished`: there was no time for all of it. */
export type RetentionRound = 'done' | 'unfinished' | 'failed'

/**
 * Rounds of it: a step of each tenant in turn, so that none keeps another waiting, be it by much mail or by an error, until there is nothing to do
 * or the time is over. The next round goes on there.
 */
export function tenantRetentionRounds(
  { database, stop, onError }: RetentionParts,
  roundMs = usualRoundMs,
): () => Promise<RetentionRound> {
  let walks = new Map<Uuid, Walk>()
  let turns = 0
  return async () => {
    const endMs = steadyNowMs() + roundMs
    let hasFailed = false
    // As they are set now.
    const retentions = await findRetentions(database.engine)
    const known = walks
    walks = new Map(
      retentions.map(({ tenantId }) => [tenantId, known.get(tenantId) ?? { ...begin, turn: 0 }]),
    )
    const turnOf = ({ tenantId }: TenantRetention) => walks.get(tenantId)?.turn ?? 0
    const line = retentions.toSorted((a, b) => turnOf(a) - turnOf(b))
    for (let first = line.shift(), steps = 0; first !== undefined; first = line.shift(), steps += 1) {
      if (stop.aborted || (steps > 0 && steadyNowMs() >= endMs)) return 'unfinished'
      const { tenantId } = first
      const walk = walks.get(tenantId) ?? begin
      turns += 1
      try {
        const next = await leisurely(() => step(database, first, walk), restFactor, stop)
        walks.set(tenantId, { ...(next ?? begin), turn: turns })
        if (next !== null) line.push(first)
      } catch (cause) {
        hasFailed = true
        walks.set(tenantId, { ...walk, turn: turns })
        const what = `old mail of ${formatId('tenant', tenantId)} could not be deleted, or redacted`
        onError(new Error(what, { cause }))
      }
    }
    return hasFailed ? 'failed' : 'done'
  }
}

/** Where a tenant's mail has been looked at up to. */
interface Place {
  at: 'traces' | 'messages' | 'content'
  place: RetentionPlace
}

/** With the number of its last step: who has waited longest is the first of a round. */
interface Walk extends Place {
  turn: number
}

const begin: Place = { at: 'traces', place: null }

/** @returns null when there is no more to do */
async function step(
  database: Database,
  { tenantId, retentionDays, redactAfterDays }: TenantRetention,
  { at, place }: Place,
): Promise<Place | null> {
  if (retentionDays !== null && at === 'traces') {
    const isMore = (await deleteOldTraces(database, tenantId, retentionDays)) > 0
    return { at: isMore ? 'traces' : 'messages', place: null }
  }
  if (retentionDays !== null && at === 'messages') {
    const next = await deleteOldMessages(database, tenantId, retentionDays, place)
    return { at: next === null ? 'content' : 'messages', place: next }
  }
  if (redactAfterDays === null) return null
  const isMore = (await redactOldMessages(database, tenantId, redactAfterDays)) > 0
  return isMore ? { at: 'content', place: null } : null
}

/** What is told of the retention of a tenant; null: as the installation says. */
export interface RetentionInput {
  retention_days?: number | null
  redact_after_days?: number | null
}
