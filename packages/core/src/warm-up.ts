/**
 * Warming up a source address: how many mails it may send to one provider in a day and in an hour, and when that grows.
 *
 * A stage is a day's volume. A day in which 90 % of it was handed off, with few deferrals and complaints, is followed by the next
 * stage; one with less is followed by the same again; too many deferrals or complaints throw it back a stage at once. Behind the last
 * stage nothing is limited any more.
 *
 * Pure: counts and times come from PostgreSQL (packages/store/src/warm-ups.ts).
 */
import type { Disposition } from './disposition.ts'
import type { Reason } from './reasons.ts'

export interface WarmUpPlan {
  /** Mails per provider and day, stage by stage, rising. */
  caps: number[]
  /** Shares above which a stage is lost, and at which none is won. */
  maxDeferralRate: number
  maxComplaintRate: number
}

/** What the big senders' published schedules have in common: about twice as much every day, 50 at first, for two weeks. */
export const defaultWarmUp: WarmUpPlan = {
  caps: [50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 70_000, 100_000, 150_000, 250_000],
  maxDeferralRate: 0.1,
  maxComplaintRate: 0.001,
}

export interface WarmUpState {
  /** From 0; the number of stages when it is over. */
  stage: number
  dayBeganMs: number
  hourBeganMs: number
  /** Rights to send that workers took. */
  drawnInDay: number
  drawnInHour: number
  /** What came of it in this day. */
  handedOff: number
  deferred: number
  complained: number
}

const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** A day's mail may come within ten hours: office hours, not a spike. */
const hoursOfADay = 10
/** The share of a stage that must have been handed off before the next. */
const fullShare = 0.9
/** Fewer outcomes, and fewer complaints, say nothing of a rate. */
const leastOutcomes = 20
const leastComplaints = 2

export function firstWarmUpState(nowMs: number): WarmUpState {
  return {
    stage: 0,
    dayBeganMs: nowMs,
    hourBeganMs: nowMs,
    drawnInDay: 0,
    drawnInHour: 0,
    handedOff: 0,
    deferred: 0,
    complained: 0,
  }
}

/** The caps of a stage; null when the warm-up is over. */
export function warmUpCaps(plan: WarmUpPlan, stage: number): { day: number; hour: number } | null {
  const day = plan.caps[stage]
  return day === undefined ? null : { day, hour: Math.max(1, Math.ceil(day / hoursOfADay)) }
}

/** The state as it is at a later time: hours and days that are over are closed, stages won and lost. */
export function continueWarmUp(plan: WarmUpPlan, before: WarmUpState, nowMs: number): WarmUpState {
  const state = isTooBad(plan, before) ? fallBack(before) : before
  if (nowMs - state.dayBeganMs >= dayMs) {
    return { ...firstWarmUpState(nowMs), stage: state.stage + (isStageWon(plan, state) ? 1 : 0) }
  }
  const hours = Math.floor((nowMs - state.hourBeganMs) / hourMs)
  return hours < 1 ? state : { ...state, hourBeganMs: state.hourBeganMs + hours * hourMs, drawnInHour: 0 }
}

/** What was drawn stays drawn, so a day that fell back is mostly over; the evidence counts only once. */
function fallBack(state: WarmUpState): WarmUpState {
  return { ...state, stage: Math.max(0, state.stage - 1), handedOff: 0, deferred: 0, complained: 0 }
}

function isTooBad(plan: WarmUpPlan, { handedOff, deferred, complained }: WarmUpState): boolean {
  const outcomes = handedOff + deferred
  if (outcomes >= leastOutcomes && deferred / outcomes >= plan.maxDeferralRate) return true
  return complained >= leastComplaints && complained / Math.max(1, handedOff) >= plan.maxComplaintRate
}

function isStageWon(plan: WarmUpPlan, state: WarmUpState): boolean {
  const cap = plan.caps[state.stage]
  if (cap === undefined) return false
  const isFull = state.handedOff >= fullShare * cap
  return isFull && state.deferred / (state.handedOff + state.deferred) < plan.maxDeferralRate
}

export type WarmUpDraw =
  /** Infinity: the warm-up is over. */
  | { granted: number; state: WarmUpState }
  /** Nothing before `retryInMs` from now. */
  | { granted: 0; state: WarmUpState; retryInMs: number }

/**
 * Takes rights to send.
 *
 * @param wanted how many at most
 */
export function drawWarmUp(plan: WarmUpPlan, before: WarmUpState, nowMs: number, wanted: number): WarmUpDraw {
  const state = continueWarmUp(plan, before, nowMs)
  const caps = warmUpCaps(plan, state.stage)
  if (caps === null) return { granted: Infinity, state }
  const granted = Math.min(wanted, caps.day - state.drawnInDay, caps.hour - state.drawnInHour)
  if (granted > 0) {
    const drawnInDay = state.drawnInDay + granted
    return { granted, state: { ...state, drawnInDay, drawnInHour: state.drawnInHour + granted } }
  }
  const isDayOver = state.drawnInDay >= caps.day
  const retryAtMs = isDayOver ? state.dayBeganMs + dayMs : state.hourBeganMs + hourMs
  return { granted: 0, state, retryInMs: Math.max(1, retryAtMs - nowMs) }
}

const badReasons: ReadonlySet<Reason | null> = new Set(['throttled', 'reputation', 'spam', 'policy'])

/** What an attempt's end says of the address that it left from; null: nothing. */
export function warmUpOutcome(
  disposition: Pick<Disposition, 'event' | 'reason'>,
): 'handed_off' | 'deferred' | null {
  if (disposition.event === 'deliver') return 'handed_off'
  return badReasons.has(disposition.reason) ? 'deferred' : null
}
