/**
 * Times of sender domains: how long one whose proof is gone still sends, how often the DNS is asked, and how long a key that signs no
 * more stays published.
 */
const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** A verified domain whose proof is missing in the DNS goes on for so long; then it stops, and another tenant may claim it. */
export const domainGraceMs = 72 * hour

/** Mail that was signed by a key may be under way for so long: a receiver's or forwarder's queue, five days (RFC 5321 §4.5.4.1), and two more. */
export const dkimRetiringMs = 7 * day

export interface CheckedDomain {
  status: 'pending' | 'verified' | 'failed'
  /** Verified, and its proof is missing. */
  isFailing: boolean
  /** A new key waits for its record. */
  hasNextKey: boolean
  ageMs: number
}

/** When the DNS is asked again by itself, in milliseconds: soon where somebody waits for it, daily where all is well. */
export function nextCheckInMs({ status, isFailing, hasNextKey, ageMs }: CheckedDomain): number {
  if (status === 'pending' && ageMs < hour) return 5 * minute
  if (hasNextKey) return 15 * minute
  if (isFailing) return hour
  if (status === 'verified' || ageMs > 30 * day) return day
  return status === 'failed' ? 6 * hour : hour
}
