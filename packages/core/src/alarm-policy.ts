/**
 * When a tenant's rates are worth an alarm, and when they are so bad that its bulk mail is held.
 *
 * The numbers are those by which the large services and mailbox providers judge their senders: bounces of 5 % bring an account of
 * Amazon SES under review and 10 % stop it, complaints of 0.1 % and 0.5 %; Gmail wants complaints under 0.1 % and never 0.3 %.
 * Deferrals are judged by nobody, but a third of all tries put off means that receivers slow us.
 *
 * Rates of a few mails say nothing: there is a least volume, and a least number of the bad ones.
 */
import type { OutcomeCounts } from './outcome-counts.ts'
import type { Stream } from './stream.ts'

export const alarmKinds = ['bounce_rate', 'complaint_rate', 'deferral_rate'] as const
export type AlarmKind = (typeof alarmKinds)[number]

/** Rates are parts of one; a rate of 1 is never exceeded. */
export interface AlarmLimits extends Record<AlarmKind, number> {
  /** Bulk mail is held when its own rates exceed these. */
  pause_bounce_rate: number
  pause_complaint_rate: number
  /** Mails that must have ended, or tries made, in the time that is judged. */
  minimum_volume: number
  /** Whether bulk mail is held at all. */
  pause_bulk: boolean
}

/** Over what time is judged: this hour and the 23 before it. */
export const alarmWindowHours = 24

/** Fewer bounces, complaints or deferrals than these are chance. */
const leastCount = 3
/** An alarm is over when its rate is under this part of its limit, or hardly any mail is left to judge by. */
const quietPart = 0.8
const quietVolumePart = 0.5

/** @param isDefault whether it is the tenant of `npm start`: whoever sends there is the operator, and nobody else is to be protected from it */
export function usualAlarmLimits(isDefault: boolean): AlarmLimits {
  return {
    bounce_rate: 0.05,
    complaint_rate: 0.001,
    deferral_rate: 0.3,
    pause_bounce_rate: 0.1,
    pause_complaint_rate: 0.005,
    minimum_volume: 200,
    pause_bulk: !isDefault,
  }
}

/** What a rate rests on. */
export interface RateFigures {
  rate: number
  limit: number
  count: number
  /** What it is a part of. */
  volume: number
}

export type AlarmCounts = Pick<
  OutcomeCounts,
  'delivered' | 'deferred' | 'bounced' | 'hard_bounced' | 'complained'
>

export interface AlarmChange extends RateFigures {
  alarm: AlarmKind
  state: 'raised' | 'cleared'
}

/** Which alarms begin and which are over. In between, where a rate is just under its limit, all stays as it is. */
export function judgeAlarms(
  counts: AlarmCounts,
  limits: AlarmLimits,
  raised: ReadonlySet<AlarmKind>,
): AlarmChange[] {
  return alarmKinds.flatMap((alarm): AlarmChange[] => {
    const figures = figuresOf(alarm, counts, limits[alarm])
    if (!raised.has(alarm)) return isExceeded(figures, limits) ? [{ alarm, state: 'raised', ...figures }] : []
    const isQuiet =
      figures.rate < figures.limit * quietPart || figures.volume < limits.minimum_volume * quietVolumePart
    return isQuiet ? [{ alarm, state: 'cleared', ...figures }] : []
  })
}

export interface PauseReason extends RateFigures {
  reason: 'bounce_rate' | 'complaint_rate'
}

/**
 * Why bulk mail is to be held; null: it is not.
 *
 * @param counts of bulk mail, since it was last let go
 */
export function judgePause(counts: AlarmCounts, limits: AlarmLimits): PauseReason | null {
  if (!limits.pause_bulk) return null
  for (const reason of ['complaint_rate', 'bounce_rate'] as const) {
    const figures = figuresOf(reason, counts, limits[`pause_${reason}`])
    if (isExceeded(figures, limits)) return { reason, ...figures }
  }
  return null
}

function isExceeded({ rate, limit, count, volume }: RateFigures, { minimum_volume }: AlarmLimits): boolean {
  return volume >= minimum_volume && count >= leastCount && rate > limit
}

/** Of bounces only hard ones count: a full mailbox is nobody's fault. */
function figuresOf(alarm: AlarmKind, counts: AlarmCounts, limit: number): RateFigures {
  const { delivered, deferred, bounced, hard_bounced: hardBounced, complained } = counts
  const [count, volume] = {
    bounce_rate: [hardBounced, delivered + bounced] as const,
    complaint_rate: [complained, delivered] as const,
    deferral_rate: [deferred, delivered + bounced + deferred] as const,
  }[alarm]
  const rate = volume === 0 ? 0 : Math.min(1, count / volume)
  return { rate: Math.round(rate * 1_000_000) / 1_000_000, limit, count, volume }
}

/** What an alarm means and what to do about it, for whoever reads the event. */
export function alarmWords(alarm: AlarmKind, stream: Stream): { explanation: string; remedy: string } {
  const mail = stream === 'bulk' ? 'bulk mail' : 'transactional mail'
  return {
    bounce_rate: {
      explanation: `More of the ${mail} than usual goes to addresses that do not exist. Mailbox providers take that for a sender of bought or old lists, and refuse its other mail too.`,
      remedy:
        'Find where these addresses come from: GET /stats by tag and domain, GET /messages?status=bounced. Send only to addresses that were confirmed, and drop those that bounced from your data.',
    },
    complaint_rate: {
      explanation: `More recipients of the ${mail} than providers bear have called it spam. Gmail refuses senders from 0.3 % on.`,
      remedy:
        'Send only to those who asked for it, let them leave by one click (unsubscribe), and stop the campaign that they complain of: GET /stats by tag.',
    },
    deferral_rate: {
      explanation: `Receivers put off much of the ${mail}: they slow us, or are in trouble themselves. It is tried again by itself.`,
      remedy:
        'Look which receiver it is: GET /stats?group_by=provider, deferred_by_reason. Throttled and reputation: send less at once and more evenly. Network: the receiver’s or the operator’s trouble.',
    },
  }[alarm]
}

/** The same of bulk mail that is held. */
export function pauseWords(reason: PauseReason['reason'] | 'operator'): {
  explanation: string
  remedy: string
} {
  const lifted =
    'the operator lets it go (PATCH /tenants/:id with "bulk_paused": false), and what is due goes at once'
  if (reason === 'operator')
    return {
      explanation:
        'The operator of this installation holds the bulk mail of this tenant. Nothing of it is lost.',
      remedy: `Ask the operator why: until ${lifted}, it waits, and its time does not run on.`,
    }
  const { explanation, remedy } = alarmWords(reason, 'bulk')
  return {
    explanation: `${explanation} So it is held, and nothing of it is lost.`,
    remedy: `${remedy} Cancel what should not go any more. Then ${lifted}.`,
  }
}
