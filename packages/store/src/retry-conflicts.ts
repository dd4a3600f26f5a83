/**
 * Deadlocks and serialization failures (40P01, 40001; Prisma's P2034, or its P2010 around one of them): PostgreSQL has undone the transaction, and asks that it be
 * tried again. A client hears of it only when that has failed as well. The same with a row that names another (23503, P2003) which was there when the statement began
 * and was deleted before it ended, such as the webhook that is to be told: tried again, the statement does not see it any more.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { databaseCodeOf, isMissingReference } from './database-errors.ts'

const conflicts = new Set(['40001', '40P01', 'P2034'])
const retries = 3
/** Doubled with each retry, and taken at random between nothing and that: the two that met do not meet again. */
const firstPauseMs = 20

export interface RetryOptions {
  /** That the row is gone which another one is to name is the answer. */
  mayMissReference?: boolean
}

/** @param transact runs the whole transaction; called up to four times */
export async function retryConflicts<T>(
  transact: () => Promise<T>,
  { mayMissReference = false }: RetryOptions = {},
): Promise<T> {
  const isConflict = (error: unknown) =>
    conflicts.has(databaseCodeOf(error) ?? '') || (isMissingReference(error) && !mayMissReference)
  for (let retry = 0; ; retry++) {
    try {
      return await transact()
    } catch (error) {
      if (retry === retries || !isConflict(error)) throw error
      await delay(Math.random() * firstPauseMs * 2 ** retry)
    }
  }
}
