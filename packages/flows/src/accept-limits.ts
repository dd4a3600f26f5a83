/** Within which time and number mail is accepted, for single requests and for batches. */
import { type Caller, ProductError } from '@valija/core'

/** A repeated request waits this long for the first one's answer (docs/api-guide.md). */
export const inProgressWaitMs = 2_000
export const inProgressProbeMs = 50
/** What COMMIT has for its answer: one that comes too late leaves the client in the dark. */
export const commitReserveMs = 1_000
/**
 * A transaction that begins has at least so long until its commit: half of what an answer may take, so that a PostgreSQL that needs
 * some seconds for one takes one after the other, instead of none because each holds somebody who has waited too long already.
 */
const batchTimeMs = 4_000
/** Rows of a tenant that may be admitted without the dispatcher: a few full hints. */
export const directShare = 128

/** What may wait for its transaction while PostgreSQL is slow. The octets of what waits are the process's byte budget's affair. */
export function acceptLine(maxItems: number) {
  return {
    maxItems,
    beginByMs: ({ answerByMs }: { answerByMs: number }) => answerByMs - commitReserveMs - batchTimeMs,
    refuse: (why: 'full' | 'late') =>
      new ProductError('overloaded', {
        detail:
          why === 'full'
            ? 'Too many messages wait to be written: the database takes them more slowly than they come.'
            : 'The message waited too long to be written: the database is slow.',
        retryAfterS: 5,
      }),
  }
}

/** Whether nothing was accepted. Of a COMMIT without an answer nobody knows: what was drawn for it stays drawn. */
export function isSurelyNotKept(error: unknown): boolean {
  return error instanceof ProductError && error.code !== 'database_unavailable'
}

/** @throws {ProductError} tenant_suspended */
export function refuseSuspended({ limits }: Caller): void {
  if (!limits.isSuspended) return
  throw new ProductError('tenant_suspended', {
    detail: 'Nothing was accepted. What was accepted before is held.',
  })
}
