/** The times of a message: when it is to be sent, for how long it is tried, and when it is late. */
import type { Fault } from './message-input-text.ts'

const MIN_TTL_SECONDS = 60
const MAX_TTL_SECONDS = 604_800
/** As long as a mail can be tried; it may be late before the first try has had time to fail. */
const LATE_SECONDS = { min: 1, max: MAX_TTL_SECONDS }
/** A clock that is slow by no more than this still means "now". */
const SEND_AT_SKEW_MS = 5 * 60_000
/** A year, whether or not it holds a 29 February. */
const SEND_AT_AHEAD_MS = 366 * 86_400_000
const RFC_3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i

export function checkTtl(seconds: number | undefined, faults: Fault[]): void {
  if (seconds === undefined) return
  if (Number.isInteger(seconds) && seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS) return
  const message = `Must be a whole number from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS} (seconds; 7 days).`
  faults.push({ path: '/ttl_seconds', message })
}

export function checkLateLimit(seconds: number | undefined, faults: Fault[]): void {
  if (seconds === undefined) return
  const { min, max } = LATE_SECONDS
  if (Number.isInteger(seconds) && seconds >= min && seconds <= max) return
  const message = `Must be a whole number from ${min} to ${max} (seconds; 7 days).`
  faults.push({ path: '/notify_if_not_handed_off_within', message })
}

/**
 * @param atOnce how one asks for that here
 * @returns null for "at once", which a time that has just passed means too
 */
export function readSendAt(
  text: string | undefined,
  now: Date,
  faults: Fault[],
  atOnce = 'leave send_at out for at once',
): Date | null {
  if (text === undefined) return null
  const sendAt = parseRfc3339(text)
  if (sendAt === null) {
    const message = 'Is not an RFC 3339 time. Write it as 2030-01-31T09:00:00Z, with "Z" or an offset.'
    faults.push({ path: '/send_at', message })
    return null
  }
  const aheadMs = sendAt.getTime() - now.getTime()
  const fault =
    aheadMs < -SEND_AT_SKEW_MS
      ? `Is in the past. Give a time to come, or ${atOnce}.`
      : aheadMs > SEND_AT_AHEAD_MS
        ? 'Is more than a year ahead. Give an earlier time.'
        : null
  if (fault !== null) faults.push({ path: '/send_at', message: fault })
  return aheadMs <= 0 ? null : sendAt
}

/** `Date` alone takes 30 February for 2 March. */
function parseRfc3339(text: string): Date | null {
  const [, year, month, day] = RFC_3339.exec(text) ?? []
  if (year === undefined || month === undefined || day === undefined) return null
  const midnight = new Date(`${year}-${month}-${day}T00:00:00Z`)
  if (Number.isNaN(midnight.getTime()) || midnight.getUTCDate() !== Number(day)) return null
  const time = new Date(text.toUpperCase())
  return Number.isNaN(time.getTime()) ? null : time
}
