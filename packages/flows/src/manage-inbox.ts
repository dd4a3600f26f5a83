/**
 * Reading the capture inbox, and waiting for a mail in it: what tests of programs that send do all day.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Caller, formatId, invalidRequest, ProductError, parseId, type Uuid } from '@valija/core'
import { parseAddress } from '@valija/mail'
import {
  clearInbox,
  type Database,
  findInboxMail,
  type InboxAttachment,
  type InboxEntry,
  listInbox,
  parseMail,
  type Wake,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface InboxDesk {
  database: Database
  wake: Wake
}

export interface InboxRequest extends PageRequest {
  /** Only mails with this envelope recipient. */
  to?: string
  /** Only mails newer than the one with this id. */
  after?: string
  /** Wait until there is one, as `20s`; at most `60s`. */
  wait?: string
}

export interface InboxEntryView {
  id: string
  received_at: string
  mail_from: string
  rcpt_to: string[]
  from: string
  to: string
  subject: string
  rfc_message_id: string | null
  size_bytes: number
}

export interface InboxMailView extends InboxEntryView {
  headers: { name: string; value: string }[]
  text: string | null
  html: string | null
  attachments: {
    filename: string | null
    content_type: string
    content_id: string | null
    size_bytes: number
  }[]
}

/** A wake-up may be lost with its connection; then a waiting request looks this often. */
const safetyMs = 1_000

/**
 * A page of the inbox, newest first.
 *
 * @param gone ends the waiting: the client left, or the server is going to
 * @returns with `wait` an empty page when nothing came in time
 * @throws {ProductError} invalid_request
 */
export async function showInbox(
  desk: InboxDesk,
  caller: Caller,
  request: InboxRequest,
  gone: AbortSignal,
): Promise<PageAnswer<InboxEntryView>> {
  const filter = readFilter(request)
  const read = () =>
    readPage(
      'inbox',
      request,
      (page) => listInbox(desk.database, caller.tenantId, { ...page, ...filter.query }),
      toEntryView,
    )
  if (filter.waitMs === 0) return read()
  return untilNotEmpty(desk.wake, caller.tenantId, filter.waitMs, gone, read)
}

/** @throws {ProductError} not_found */
export async function showInboxMail(desk: InboxDesk, caller: Caller, id: string): Promise<InboxMailView> {
  const mail = await requireMail(desk, caller, id)
  const { headers, text, html, attachments } = await parseMail(mail.raw)
  return {
    ...toEntryView(mail),
    headers,
    text,
    html,
    attachments: attachments.map((attachment) => ({
      filename: attachment.filename,
      content_type: attachment.contentType,
      content_id: attachment.contentId,
      size_bytes: attachment.content.length,
    })),
  }
}

/** The mail as it came over SMTP. @throws {ProductError} not_found */
export async function showInboxRaw(desk: InboxDesk, caller: Caller, id: string): Promise<Buffer> {
  return (await requireMail(desk, caller, id)).raw
}

/** @param index from 0, in the order of `attachments` @throws {ProductError} not_found */
export async function showInboxAttachment(
  desk: InboxDesk,
  caller: Caller,
  id: string,
  index: string,
): Promise<InboxAttachment> {
  const mail = await requireMail(desk, caller, id)
  const { attachments } = await parseMail(mail.raw)
  const attachment = /^\d{1,6}$/.test(index) ? attachments[Number(index)] : undefined
  if (attachment === undefined) throw new ProductError('not_found')
  return attachment
}

export async function emptyInbox(desk: InboxDesk, caller: Caller): Promise<void> {
  await clearInbox(desk.database, caller.tenantId)
}

async function requireMail(desk: InboxDesk, caller: Caller, id: string) {
  const uuid = parseId('inbox', id)
  const mail = uuid && (await findInboxMail(desk.database, caller.tenantId, uuid))
  if (!mail) throw new ProductError('not_found')
  return mail
}

function readFilter(request: InboxRequest) {
  const to = request.to === undefined ? null : parseAddress(request.to)
  if (to !== null && !to.ok) throw invalidRequest([{ path: 'to', message: to.message }])
  const newerThan = request.after === undefined ? null : parseId('inbox', request.after)
  if (request.after !== undefined && newerThan === null) {
    throw invalidRequest([{ path: 'after', message: 'is no id of a mail in the inbox (inb_…)' }])
  }
  const seconds = request.wait === undefined ? '0' : /^(\d{1,2})s$/.exec(request.wait)?.[1]
  if (seconds === undefined || Number(seconds) > 60) {
    throw invalidRequest([{ path: 'wait', message: 'is a number of seconds up to 60, such as 20s' }])
  }
  return { query: { to: to?.value.email ?? null, newerThan }, waitMs: Number(seconds) * 1_000 }
}

/** Reads until there is something, the time is over or nobody wants it any more: on every wake-up, and once a second. */
async function untilNotEmpty<T>(
  wake: Wake,
  tenantId: Uuid,
  waitMs: number,
  gone: AbortSignal,
  read: () => Promise<PageAnswer<T>>,
): Promise<PageAnswer<T>> {
  const endMs = performance.now() + waitMs
  let bell = new AbortController()
  const stopListening = wake.on('inbox', (payload) => {
    if (payload === '' || payload === tenantId) bell.abort()
  })
  try {
    for (;;) {
      // A new bell before each look: what comes during the look rings it.
      bell = new AbortController()
      const page = await read()
      const leftMs = endMs - performance.now()
      if (page.data.length > 0 || leftMs <= 0 || gone.aborted) return page
      const interrupted = AbortSignal.any([bell.signal, gone])
      await delay(Math.min(safetyMs, leftMs), undefined, { signal: interrupted }).catch((error: Error) => {
        if (error.name !== 'AbortError') throw error
      })
    }
  } finally {
    stopListening()
  }
}

function toEntryView(entry: InboxEntry): InboxEntryView {
  return {
    id: formatId('inbox', entry.id),
    received_at: entry.receivedAt.toISOString(),
    mail_from: entry.mailFrom,
    rcpt_to: entry.rcptTo,
    from: entry.from,
    to: entry.to,
    subject: entry.subject,
    rfc_message_id: entry.rfcMessageId,
    size_bytes: entry.sizeBytes,
  }
}
