/**
 * Telling an endpoint again (docs/api-guide.md, "Telling again"): what a tenant asks for, and the workers' part in it.
 *
 * One event is due at once. A range, or all that waits for a later try, is a row that workers work off in steps
 * (store/webhook-replays.ts), because it can be millions of events: no request waits for them, and no transaction holds them.
 */
import {
  type Caller,
  conflict,
  type EventType,
  eventTypes,
  invalidRequest,
  parseId,
  type Uuid,
} from '@valija/core'
import {
  type Database,
  listWebhookReplays,
  maxWebhookReplays,
  type ReplayProgress,
  replayEvent,
  replayRange,
  replayWaiting,
  stepWebhookReplay,
  type Wake,
  type WebhookReplayCount,
} from '@valija/store'
import { requireWebhook, type WebhookDesk } from './manage-webhooks.ts'
import { createSleeper } from './sleeper.ts'

/** The body of POST /webhooks/:id/replay: one of the three. */
export interface WebhookReplayInput {
  event_id?: string
  after?: string
  before?: string
  types?: string[]
  failed?: true
}

export interface WebhookReplayView {
  events: number
  is_exact: boolean
}

/** @throws {ProductError} not_found, invalid_request, conflict */
export async function replayWebhook(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  input: WebhookReplayInput,
): Promise<WebhookReplayView> {
  const { tenantId } = caller
  const { id: webhookId } = await requireWebhook(desk, caller, id)
  const asked = readInput(input, desk.clock.nowMs())
  const webhook = { id: webhookId, tenantId, replayId: desk.nextId() }
  let count: WebhookReplayCount | null
  if (asked.kind === 'event') {
    const isKnown = await replayEvent(desk.database.engine, tenantId, webhookId, asked.eventId)
    if (!isKnown)
      throw invalidRequest([{ path: '/event_id', message: 'is no event of yours, or none any more' }])
    count = { events: 1, isExact: true }
  } else if (asked.kind === 'range') {
    count = await replayRange(desk.database, webhook, asked)
  } else {
    count = await replayWaiting(desk.database, webhook)
  }
  if (count === null)
    throw conflict('underWay', {
      detail: `${maxWebhookReplays} replays of this webhook are under way; each is gone once it is done.`,
    })
  desk.wake.send('webhooks')
  return { events: count.events, is_exact: count.isExact }
}

type Asked =
  | { kind: 'event'; eventId: Uuid }
  | { kind: 'range'; afterMs: number; beforeMs: number; types: EventType[] | null }
  | { kind: 'waiting' }

function readInput(input: WebhookReplayInput, nowMs: number): Asked {
  const { event_id: eventText, after, before, types, failed } = input
  assertOneKind(input)
  if (failed !== undefined) return { kind: 'waiting' }
  if (eventText !== undefined) {
    const eventId = parseId('event', eventText)
    if (eventId === null) throw invalidRequest([{ path: '/event_id', message: 'is no id of an event' }])
    return { kind: 'event', eventId }
  }
  if (after === undefined)
    throw invalidRequest([{ path: '/after', message: 'must say from when on, such as 2026-11-23T00:00:00Z' }])
  const afterMs = readTime('/after', after)
  const beforeMs = before === undefined ? nowMs : Math.min(readTime('/before', before), nowMs)
  if (afterMs >= beforeMs)
    throw invalidRequest([{ path: '/after', message: 'must be earlier than before, and than now' }])
  return { kind: 'range', afterMs, beforeMs, types: types === undefined ? null : types.map(readType) }
}

/** @throws {ProductError} invalid_request: more than one of the three, or none; or what belongs to a range beside another */
function assertOneKind(input: WebhookReplayInput): void {
  const given = (['event_id', 'after', 'failed'] as const).filter((name) => input[name] !== undefined)
  const ofRange = (['before', 'types'] as const).filter((name) => input[name] !== undefined)
  const [kind] = given
  if (given.length > 1 || (kind === undefined && ofRange.length === 0)) {
    const has = kind === undefined ? '' : `; it has ${given.join(' and ')}`
    throw invalidRequest([{ path: '', message: `must have exactly one of event_id, after, failed${has}` }])
  }
  if (kind === undefined || kind === 'after') return
  if (ofRange.length > 0)
    throw invalidRequest(
      ofRange.map((name) => ({ path: `/${name}`, message: `goes with after: leave it out beside ${kind}` })),
    )
}

function readTime(path: string, text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms) || ms < 0) throw invalidRequest([{ path, message: 'must be a time after 1970' }])
  return ms
}

function readType(name: string, index: number): EventType {
  const type = eventTypes.find((known) => known === name)
  if (type === undefined)
    throw invalidRequest([
      {
        path: `/types/${index}`,
        message: `${JSON.stringify(name)} is no event type; leave types out for all`,
      },
    ])
  return type
}

export interface WebhookReplayer {
  start(): void
  /** Resolves when the step under way has ended. */
  stop(): Promise<void>
}

/**
 * How soon a replay is looked at again, by what its last step came to, in milliseconds. `more` is woken besides. One that failed keeps no
 * other from its step.
 */
const pauseMs = { more: 1, full: 100, early: 2_000, done: 15_000, failed: 2_000 } as const satisfies Record<
  ReplayProgress | 'failed',
  number
>

/** Works off what was asked for, beside any number of other workers. */
export function createWebhookReplayer(parts: {
  database: Database
  wake: Pick<Wake, 'on' | 'send'>
  onError: (error: Error) => void
}): WebhookReplayer {
  const { database, wake, onError } = parts
  let isStopped = false
  const step = async (id: Uuid): Promise<keyof typeof pauseMs> => {
    try {
      const progress = await stepWebhookReplay(database, id)
      if (progress === 'more') wake.send('webhooks')
      return progress
    } catch (error) {
      onError(error as Error)
      return 'failed'
    }
  }
  const round = async (): Promise<number> => {
    let nextMs: number = pauseMs.done
    for (const id of await listWebhookReplays(database.engine)) {
      if (isStopped) break
      nextMs = Math.min(nextMs, pauseMs[await step(id)])
    }
    return nextMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: 1_000 })
  let stopListening = () => {}
  return {
    start: () => {
      stopListening = wake.on('webhooks', sleeper.wake)
      sleeper.wake()
    },
    stop: () => {
      isStopped = true
      stopListening()
      return sleeper.stop()
    },
  }
}
