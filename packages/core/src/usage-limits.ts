/**
 * What a tenant or a key may use in a time: requests, and recipients of accepted messages. No limit holds until it is set.
 *
 * Windows are fixed. Those of up to an hour begin with the first use; a day and a month are those of the calendar in UTC, as the
 * bills of other services have them. So what is counted is exact: in no window is more accepted than the limit says.
 */
import type { Uuid } from './ids.ts'

type Window = 'second' | 'minute' | 'hour' | 'day' | 'month'

export interface UsageLimitKind {
  /** `address`: recipients, each address by itself. */
  counts: 'requests' | 'recipients' | 'address'
  window: Window
  description: string
}

/** By the names that `limits` of tenants and keys have for them, in the order in which they are told. */
export const usageLimits = {
  requests_per_second: {
    counts: 'requests',
    window: 'second',
    description: 'Requests of any kind in a second, which begins with the first of them.',
  },
  requests_per_minute: {
    counts: 'requests',
    window: 'minute',
    description: 'Requests of any kind in a minute, which begins with the first of them.',
  },
  recipients_per_minute: {
    counts: 'recipients',
    window: 'minute',
    description: 'Recipients of accepted messages in a minute, which begins with the first of them.',
  },
  recipients_per_hour: {
    counts: 'recipients',
    window: 'hour',
    description: 'Recipients of accepted messages in an hour, which begins with the first of them.',
  },
  recipients_per_day: {
    counts: 'recipients',
    window: 'day',
    description: 'Recipients of accepted messages in a day, from 00:00 UTC on.',
  },
  recipients_per_month: {
    counts: 'recipients',
    window: 'month',
    description: 'Recipients of accepted messages in a calendar month (UTC).',
  },
  recipients_per_hour_to_one_address: {
    counts: 'address',
    window: 'hour',
    description:
      'Messages to one and the same address in an hour, which begins with the first of them: against forms that are abused to flood somebody’s mailbox.',
  },
} as const satisfies Record<string, UsageLimitKind>

export type UsageLimitName = keyof typeof usageLimits
export const usageLimitNames = Object.keys(usageLimits) as UsageLimitName[]

/** As many as a tenant or key may use; what is absent is not limited. */
export type UsageLimits = { [Name in UsageLimitName]?: number }

/** A limit that holds for a caller. */
export interface UsageLimit {
  of: 'tenant' | 'key'
  /** The tenant's or the key's id. */
  ownerId: Uuid
  name: UsageLimitName
  value: number
}

/** A limit, and how much of it there is left. */
export interface UsageState extends UsageLimit {
  left: number
  /** When its window is over, by PostgreSQL's clock, milliseconds since 1970. */
  resetAtMs: number
  /** Until then, in milliseconds. */
  resetInMs: number
}

/** A day or a month: what is used up is told by `quota.reached`, and refused as `quota_exceeded`. */
export function isQuota(name: UsageLimitName): boolean {
  const { window } = usageLimits[name]
  return window === 'day' || window === 'month'
}

/** The usual length of a limit's window in seconds, for RateLimit-Policy; a month is taken for 30 days. */
export const windowS: Readonly<Record<Window, number>> = {
  second: 1,
  minute: 60,
  hour: 3_600,
  day: 86_400,
  month: 30 * 86_400,
}

/** When a window that begins with a use at `nowMs` is over; both in milliseconds since 1970. */
export function windowEndMs(name: UsageLimitName, nowMs: number): number {
  const { window } = usageLimits[name]
  const now = new Date(nowMs)
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()]
  if (window === 'month') return Date.UTC(year, month + 1, 1)
  if (window === 'day') return Date.UTC(year, month, now.getUTCDate() + 1)
  return nowMs + windowS[window] * 1_000
}

/** Those of a tenant or a key, as they hold for its caller. */
export function usageLimitsOf(of: UsageLimit['of'], ownerId: Uuid, limits: object): UsageLimit[] {
  return usageLimitNames.flatMap((name) => {
    const value = (limits as Record<string, unknown>)[name]
    return typeof value === 'number' ? [{ of, ownerId, name, value }] : []
  })
}
