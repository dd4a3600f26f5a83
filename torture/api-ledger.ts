/** What the API says: follows the stream of events all the while, as a careful reader would, and reads every message at the end. */
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { client } from '../tests/support/http.ts'
import type { AttemptView, EventView, MessageView } from '../tests/support/message-life.ts'
import type { EventEntry, Ledger, MessageEntry } from './ledgers.ts'

export interface EventFollower {
  /** Reads on until the stream has no more. */
  finish(): Promise<void>
}

const pauseMs = 500

/** Follows `GET /events` by its cursor; whichever API process answers will do. */
export function followEvents(
  urls: readonly string[],
  apiKey: string,
  ledger: Ledger<EventEntry>,
): EventFollower {
  const calls = urls.map((url) => client(url, apiKey))
  let cursor: string | null = null
  let asked = 0
  let isFinishing = false

  const readPage = async (): Promise<number | null> => {
    asked += 1
    const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    try {
      const call = calls[asked % calls.length]
      const answer = await call?.<{ data: EventView[]; next_cursor: string }>(
        'GET',
        `/events?limit=100${query}`,
      )
      if (answer?.status !== 200) return null
      for (const event of answer.json.data) ledger.add(eventEntry(event))
      cursor = answer.json.next_cursor
      return answer.json.data.length
    } catch {
      return null // it was killed; what was not read is read again
    }
  }
  const following = (async () => {
    for (;;) {
      const wasFinishing = isFinishing
      const count = await readPage()
      if (count === 0 && wasFinishing) return
      if (count === null || count < 100) await delay(pauseMs)
    }
  })()
  return {
    finish: async () => {
      isFinishing = true
      await following
    },
  }
}

function eventEntry({ id, type, data }: EventView): EventEntry {
  const metadata = (data.metadata ?? {}) as { number?: string }
  return {
    kind: 'event',
    id,
    type,
    messageId: `${data.message_id ?? ''}`,
    recipientId: data.recipient_id ?? '',
    seq: data.seq ?? 0,
    number: Number(metadata.number ?? Number.NaN),
    isUncertain: data.uncertain === true,
  }
}

/** How many messages are asked for at once. */
const width = 16
/** Of so many messages one is asked for its bytes. */
const rawEvery = 50

/**
 * Reads messages as they are, and where `isDoubtful` says so their attempts.
 *
 * @throws {Error} when the API does not answer 200 although nothing is broken any more
 */
export async function readMessages(
  urls: readonly string[],
  messages: readonly { id: string; apiKey: string }[],
  isDoubtful: (recipient: MessageEntry['recipients'][number]) => boolean,
  ledger: Ledger<MessageEntry>,
): Promise<void> {
  let next = 0
  const work = async (url: string) => {
    for (let index = next++; index < messages.length; index = next++) {
      const { id, apiKey } = messages[index]!
      const path = `/messages/${id}`
      const entry = messageEntry(await get(url, apiKey, path))
      if (entry.recipients.some(isDoubtful)) {
        const { data } = await get<{ data: AttemptView[] }>(url, apiKey, `${path}/attempts?limit=100`)
        entry.uncertain = countUncertain(data)
      }
      if (index % rawEvery === 0) entry.sha256 = await hashRaw(url, apiKey, path)
      ledger.add(entry)
    }
  }
  await Promise.all(Array.from({ length: width }, (_, lane) => work(urls[lane % urls.length] ?? '')))
}

async function get<T>(url: string, apiKey: string, path: string): Promise<T> {
  return (await ask(url, apiKey, path)).json() as Promise<T>
}

async function hashRaw(url: string, apiKey: string, path: string): Promise<string> {
  const response = await ask(url, apiKey, `${path}/raw`)
  return createHash('sha256')
    .update(await response.bytes())
    .digest('hex')
}

/** A process that was told to die at some point may still do so now. */
const patienceMs = 120_000

async function ask(url: string, apiKey: string, path: string): Promise<Response> {
  const startedMs = performance.now()
  for (;;) {
    try {
      const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${apiKey}` } })
      if (response.status === 200) return response
      throw new Error(`GET ${path}: ${response.status} ${await response.text()}`)
    } catch (error) {
      if (!(error instanceof TypeError) || performance.now() - startedMs > patienceMs) throw error
      await delay(pauseMs)
    }
  }
}

type NumberedMessage = MessageView & { metadata: { number: string } }

function messageEntry(view: NumberedMessage): MessageEntry {
  return {
    kind: 'message',
    id: view.id,
    number: Number(view.metadata.number),
    rfcMessageId: view.rfc_message_id,
    recipients: view.recipients.map(({ id, email, status, attempts }) => ({ id, email, status, attempts })),
  }
}

function countUncertain(attempts: readonly AttemptView[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { recipient_ids, uncertain } of attempts) {
    if (!uncertain) continue
    for (const id of recipient_ids) counts[id] = (counts[id] ?? 0) + 1
  }
  return counts
}
