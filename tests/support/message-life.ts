/** What became of a message, as its sender sees it: through the API and nothing else. */
import { PATIENCE_MS, until } from './until.ts'
import { type Call, expectStatus } from './valija.ts'

export type RecipientView = {
  id: string
  email: string
  status: string
  reason: string | null
  reply: string | null
  enhanced_status: string | null
  attempts: number
  next_attempt_at: string | null
  delivered_at: string | null
}

export type MessageView = {
  id: string
  status: string
  rfc_message_id: string
  expires_at: string
  recipients: RecipientView[]
}

export type EventView = {
  id: string
  type: string
  timestamp: string
  data: { seq: number; email: string; recipient_id: string; reason?: string; attempt?: number } & Record<
    string,
    unknown
  >
}

export type AttemptView = {
  number: number
  recipient_ids: string[]
  outcome: string
  phase: string
  host: string | null
  ip: string | null
  tls: { version: string; cipher: string; verified: boolean; policy: string; detail: string | null } | null
  reply: string | null
  enhanced_status: string | null
  reason: string | null
  uncertain: boolean
  transcript: { t_ms: number; from: 'client' | 'server'; line: string }[]
}

const LIVE = /^(?:queued|sending|deferred|scheduled)$/

/** Posts a mail that must be accepted; gives its id. */
export async function post(call: Call, body: unknown, headers: Record<string, string> = {}): Promise<string> {
  return expectStatus(await call<{ id: string }>('POST', '/send', body, headers), 202).json.id
}

export const readMessage = async (call: Call, id: string): Promise<MessageView> =>
  expectStatus(await call<MessageView>('GET', `/messages/${id}`), 200).json

/** Waits until every recipient is at its end. */
export const untilEnded = (call: Call, id: string, timeoutMs = PATIENCE_MS): Promise<MessageView> =>
  until(
    `the end of ${id}`,
    async () => {
      const message = await readMessage(call, id)
      return LIVE.test(message.status) ? null : message
    },
    timeoutMs,
  )

/**
 * Waits until every recipient of all these messages is at its end; gives them in order. Looks at a few of them at a time: the end of
 * all is no later for that, and hundreds that are asked for at once, again and again, keep the API from its work.
 */
export function allEnded(
  call: Call,
  ids: readonly string[],
  timeoutMs = PATIENCE_MS,
): Promise<MessageView[]> {
  const endAt = performance.now() + timeoutMs
  return inParallel(ids.length, 4, (index) =>
    untilEnded(call, ids[index]!, Math.max(0, endAt - performance.now())),
  )
}

/** All events of a message, oldest first; optionally those of one recipient. */
export async function readEvents(call: Call, id: string, email?: string): Promise<EventView[]> {
  const path = `/messages/${id}/events?limit=100`
  const { data } = expectStatus(await call<{ data: EventView[] }>('GET', path), 200).json
  return email === undefined ? data : data.filter((event) => event.data.email === email)
}

export const eventTypes = async (call: Call, id: string, email?: string): Promise<string[]> =>
  (await readEvents(call, id, email)).map((event) => event.type.replace('message.', ''))

export const readAttempts = async (call: Call, id: string): Promise<AttemptView[]> =>
  expectStatus(await call<{ data: AttemptView[] }>('GET', `/messages/${id}/attempts?limit=100`), 200).json
    .data

/** Runs `work` for 0 … count - 1, `width` at a time; gives the results in order. */
export async function inParallel<T>(
  count: number,
  width: number,
  work: (index: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const lane = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await work(index)
  }
  await Promise.all(Array.from({ length: width }, lane))
  return results
}

/** How often each value occurs, for "each exactly once". */
export function countEach(values: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}
