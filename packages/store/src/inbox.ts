/**
 * The inbox: what the capture route caught, whole as it came over SMTP, with the few header fields that a list shows.
 */
import { storableText, type Uuid } from '@valija/core'
import { parseMimeApart } from '@valija/mail'
import type pg from 'pg'
import { decodeWords, type Header } from 'postal-mime'
import { type Database, readAsTenant, writeAsTenant } from './database.ts'

/** A mail as the capture receiver has it. */
export interface CaughtMail {
  id: Uuid
  tenantId: Uuid
  messageId: Uuid
  receivedAt: Date
  /** Empty for the null sender. */
  mailFrom: string
  rcptTo: readonly string[]
  raw: Buffer
}

/** An entry of the inbox without the mail itself. */
export interface InboxEntry {
  id: Uuid
  receivedAt: Date
  mailFrom: string
  rcptTo: string[]
  /** Header fields, decoded. */
  from: string
  to: string
  subject: string
  rfcMessageId: string | null
  sizeBytes: number
}

export interface InboxAttachment {
  filename: string | null
  contentType: string
  /** Without angle brackets. */
  contentId: string | null
  content: Buffer
}

/** A mail taken apart. */
export interface ParsedMail {
  /** In the order of the mail, unfolded and decoded (RFC 2047). */
  headers: { name: string; value: string }[]
  text: string | null
  html: string | null
  attachments: InboxAttachment[]
}

/** To which tenant a message belongs; null when there is none (any more). */
export async function findMessageTenant(engine: pg.Pool, messageId: Uuid): Promise<Uuid | null> {
  const result = await engine.query<{ tenantId: Uuid }>({
    name: 'find-message-tenant',
    text: 'SELECT tenant_id AS "tenantId" FROM valija.messages WHERE id = $1',
    values: [messageId],
  })
  return result.rows[0]?.tenantId ?? null
}

/** Puts a caught mail into its tenant's inbox; the caller wakes the topic `inbox` with the tenant's id afterwards. */
export async function insertInboxMail(engine: pg.Pool, mail: CaughtMail): Promise<void> {
  const { headers } = await parseMail(headerSection(mail.raw))
  const first = (name: string) =>
    storableText(headers.find((header) => header.name.toLowerCase() === name)?.value ?? '')
  await engine.query({
    name: 'insert-inbox-mail',
    text: `INSERT INTO valija.inbox (id, tenant_id, message_id, received_at, mail_from, rcpt_to, rcpt_keys,
                                     from_header, to_header, subject, rfc_message_id, raw)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11, ''), $12)`,
    values: [
      mail.id,
      mail.tenantId,
      mail.messageId,
      mail.receivedAt,
      mail.mailFrom,
      mail.rcptTo,
      mail.rcptTo.map(recipientKey),
      first('from'),
      first('to'),
      first('subject'),
      first('message-id'),
      mail.raw,
    ],
  })
}

export interface InboxQuery {
  limit: number
  /** Entries older than this one. */
  after: Uuid | null
  /** Entries newer than this one. */
  newerThan: Uuid | null
  /** Only mails with this envelope recipient. */
  to: string | null
}

/** Newest first. */
export async function listInbox(
  database: Database,
  tenantId: Uuid,
  query: InboxQuery,
): Promise<InboxEntry[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const result = await client.query<InboxEntry>({
      name: 'list-inbox',
      text: `SELECT ${entryColumns} FROM valija.inbox
              WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::uuid IS NULL OR id > $3)
                AND ($4::text IS NULL OR $4 = ANY(rcpt_keys))
              ORDER BY id DESC LIMIT $5`,
      values: [tenantId, query.after, query.newerThan, query.to && recipientKey(query.to), query.limit],
    })
    return result.rows
  })
}

/** An entry with the mail as it came. */
export async function findInboxMail(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<(InboxEntry & { raw: Buffer }) | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const result = await client.query<InboxEntry & { raw: Buffer }>({
      name: 'find-inbox-mail',
      text: `SELECT ${entryColumns}, raw FROM valija.inbox WHERE tenant_id = $1 AND id = $2`,
      values: [tenantId, id],
    })
    return result.rows[0] ?? null
  })
}

/** Empties a tenant's inbox. */
export async function clearInbox(database: Database, tenantId: Uuid): Promise<void> {
  await writeAsTenant(database, tenantId, (client) =>
    client.query('DELETE FROM valija.inbox WHERE tenant_id = $1', [tenantId]),
  )
}

/**
 * Takes a mail apart, a large one in a thread. One that the parser refuses (over 256 levels of parts, over 2 MiB of headers) or does not get
 * through in 10 s comes back with nothing in it: it was caught all the same, and its raw text can be read.
 */
export async function parseMail(raw: Buffer): Promise<ParsedMail> {
  const mail = await parseMimeApart(raw).catch(() => null)
  if (mail === null) return { headers: [], text: null, html: null, attachments: [] }
  return {
    headers: mail.headers.map((header: Header) => ({
      name: header.originalKey,
      value: decodeWords(header.value),
    })),
    text: mail.text ?? null,
    html: mail.html ?? null,
    attachments: mail.attachments.map((part) => ({
      filename: part.filename,
      contentType: part.mimeType,
      contentId: part.contentId?.replace(/^<(.*)>$/, '$1') ?? null,
      content: toBuffer(part.content),
    })),
  }
}

// octet_length of a stored value reads its header only, not the value.
const entryColumns = `id, received_at AS "receivedAt", mail_from AS "mailFrom", rcpt_to AS "rcptTo", from_header AS "from",
  to_header AS "to", subject, rfc_message_id AS "rfcMessageId", octet_length(raw) AS "sizeBytes"`

/** How recipients are compared: without regard to the local part's case (domains are lower case already). */
function recipientKey(address: string): string {
  return address.normalize('NFC').toLowerCase().normalize('NFC')
}

/** Up to the empty line (RFC 5322 section 2.1), so that a large mail is not taken apart for four fields. */
function headerSection(raw: Buffer): Buffer {
  const end = raw.indexOf('\r\n\r\n')
  return end < 0 ? raw : raw.subarray(0, end + 4)
}

function toBuffer(content: ArrayBuffer | Uint8Array | string): Buffer {
  if (typeof content === 'string') return Buffer.from(content)
  return content instanceof Uint8Array ? Buffer.from(content) : Buffer.from(content)
}
