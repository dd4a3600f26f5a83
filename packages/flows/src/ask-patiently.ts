/**
 * Asking PostgreSQL again while it is away: else a moment's absence would cost every mail in hand the 30 s of its lease, and an answer
 * that has begun its end.
 */
import { isPassingDatabaseError, leaseMs } from '@valija/store'
import { pauseUnless } from './pause.ts'

/** While PostgreSQL is away it is asked again this often, for as long as a lease holds: of a mail, the sweep mends it anyway then. */
const awayPauseMs = 500

/** @param stop ends the asking: the last error is thrown */
export async function askPatiently<T>(ask: () => Promise<T>, stop: AbortSignal): Promise<T> {
  const endMs = performance.now() + leaseMs
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!isPassingDatabaseError(error) || stop.aborted || performance.now() > endMs) throw error
      await pauseUnless(stop, awayPauseMs)
    }
  }
}
