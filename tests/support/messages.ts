/** What end-to-end tests ask of messages over HTTP: sending one that must be taken, and waiting for what becomes of it. */
import type { Answer } from './http.ts'
import { PATIENCE_MS, until } from './until.ts'
import { expectStatus } from './valija.ts'

export type CallApi = <T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer<T>>

export type AcceptedMail = {
  id: string
  status: string
  delivery: string
  created_at: string
  simulated?: true
  recipients: { id: string; email: string; type: string; status: string }[]
}

export type MailRecipient = AcceptedMail['recipients'][number] & {
  reason: string | null
  reply: string | null
  enhanced_status: string | null
  attempts: number
  next_attempt_at: string | null
  delivered_at: string | null
}

export type MailView = Omit<AcceptedMail, 'recipients'> & {
  from: string
  subject: string
  tags: string[]
  metadata: Record<string, string>
  rfc_message_id: string
  size_bytes: number | null
  expires_at: string
  recipients: MailRecipient[]
}

export type MailEvent = {
  id: string
  type: string
  timestamp: string
  data: Record<string, unknown> & { message_id: string; recipient_id: string; email: string; seq: number }
}

export type ProblemBody = {
  type: string
  title: string
  status: number
  detail?: string
  code: string
  fix: string
  errors?: { path: string; message: string }[]
  request_id: string
}

export type Listed<T> = { data: T[]; next_cursor: string | null }

const LIVE = new Set(['sending', 'queued', 'deferred', 'scheduled'])

/** Posts a mail that must be accepted. */
export async function sendMail(call: CallApi, body: unknown): Promise<AcceptedMail> {
  return expectStatus(await call<AcceptedMail>('POST', '/send', body), 202).json
}

export async function readMail(call: CallApi, id: string): Promise<MailView> {
  return expectStatus(await call<MailView>('GET', `/messages/${id}`), 200).json
}

/** The message once none of its recipients is live any more. */
export function endOfMail(call: CallApi, id: string, timeoutMs = PATIENCE_MS): Promise<MailView> {
  return until(
    `the end of ${id}`,
    async () => {
      const mail = await readMail(call, id)
      return LIVE.has(mail.status) ? null : mail
    },
    timeoutMs,
  )
}

/** Every entry of a list, page by page; fails when a page is longer than asked for or a cursor leads in a circle. */
export async function readAll<T>(call: CallApi, path: string, limit = 100): Promise<T[]> {
  const all: T[] = []
  const seen = new Set<string>()
  const mark = path.includes('?') ? '&' : '?'
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: string = `${mark}limit=${limit}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`
    const { json }: Answer<Listed<T>> = expectStatus(await call<Listed<T>>('GET', `${path}${query}`), 200)
    if (json.data.length > limit) throw new Error(`a page of ${path} has ${json.data.length} entries`)
    all.push(...json.data)
    cursor = json.next_cursor
    if (cursor !== null && seen.has(cursor)) throw new Error(`the cursors of ${path} lead in a circle`)
    if (cursor !== null) seen.add(cursor)
  }
  return all
}

/** Runs one piece of work for each entry, `width` at a time, and keeps the order of the results. */
export async function forEachOf<T, R>(
  entries: readonly T[],
  width: number,
  work: (entry: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const run = async () => {
    while (next < entries.length) {
      const index = next
      next += 1
      results[index] = await work(entries[index] as T, index)
    }
  }
  await Promise.all(Array.from({ length: width }, run))
  return results
}
