/**
 * An accepted message as it was asked for, to be sent again: what is stored of it, without what made it that one mail (its ids, its
 * Message-ID, its date, its send_at). The rules of the day hold for it as for a new one; its shape was judged when it first came.
 */
import {
  conflict,
  erasedDomain,
  type FieldFault,
  formatId,
  invalidRequest,
  type MessageRecipient,
  ProductError,
  simulationOf,
  type Uuid,
  type ValidatedMessage,
} from '@valija/core'
import { type Address, checkedSizeBytes, checkRaw, type Mailbox, parseAddress } from '@valija/mail'
import { type Database, decodeBody, findSentMessage, type SentMessage, type StoredBody } from '@valija/store'

/** A message that is to be sent again: read only when no answer is stored for its key, since its content may be gone meanwhile. */
export interface Resending {
  readAgain: () => Promise<ResentMessage>
}

export interface ResentMessage {
  resent: ValidatedMessage
  resentFrom: Uuid
}

/**
 * @param only addresses of some of its recipients; null: all of them
 * @throws {ProductError} not_found; conflict when its content is gone; invalid_request for who is no recipient of it
 */
export async function readResentMessage(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
  only: readonly string[] | null,
): Promise<ResentMessage> {
  const sent = await findSentMessage(database, tenantId, messageId)
  if (sent === null) throw new ProductError('not_found', { detail: 'There is no such message.' })
  // Who was erased is not written to.
  const all = sent.recipients
    .map(({ email, type }) => ({ address: addressOf(email), type }))
    .filter(({ address }) => address.domain !== erasedDomain)
  const recipients = only === null ? all : pick(all, only)
  if (sent.content === null || all.length === 0) throw contentGone(sent, messageId)
  const content = contentOf(decodeBody(sent.content), sent)
  return {
    resentFrom: messageId,
    resent: {
      from: { name: null, address: addressOf(sent.fromEmail) },
      ...content,
      recipients,
      tags: sent.tags,
      metadata: sent.metadata,
      stream: sent.stream,
      sendAt: null,
      ttlSeconds: Math.round((sent.expiresAt.getTime() - (sent.sendAt ?? sent.createdAt).getTime()) / 1_000),
      requireTls: sent.requireTls,
      route: null,
      sandbox: sent.isSandbox ?? wasSandbox(sent, all),
      isSensitive: sent.isSensitive,
      lateAfterSeconds: sent.lateAfterSeconds,
      renderedFrom: sent.template,
      estimatedSizeBytes: sizeOf(content),
    },
  }
}

function contentGone({ isSensitive }: SentMessage, messageId: Uuid): ProductError {
  return conflict('gone', {
    detail: isSensitive
      ? 'The message was sensitive: its body was dropped when its last recipient had its end.'
      : 'The body of the message is not kept any more (VALIJA_RETENTION_CONTENT, the retention of the tenant, or an erasure).',
    fix: `Send it anew by POST /send, with its content; ${formatId('message', messageId)} is not there to be sent again.`,
  })
}

/** Of a message that did not write it down: one that was played by the simulator although its address is a real one. On the safe side. */
function wasSandbox({ isSimulated }: SentMessage, recipients: readonly MessageRecipient[]): boolean {
  return isSimulated && recipients.some(({ address }) => simulationOf(address, false) === null)
}

function addressOf(email: string): Address {
  const parsed = parseAddress(email)
  if (!parsed.ok) throw new Error(`a stored address is none: ${parsed.message}`)
  return parsed.value
}

const mailboxOf = ({ key, domain }: Address) => `${key}@${domain}`

function pick(all: readonly MessageRecipient[], only: readonly string[]): MessageRecipient[] {
  const chosen = new Set<string>()
  const present = new Set(all.map(({ address }) => mailboxOf(address)))
  const faults = only.flatMap((text, index): FieldFault[] => {
    const parsed = parseAddress(text)
    if (parsed.ok && present.has(mailboxOf(parsed.value))) {
      chosen.add(mailboxOf(parsed.value))
      return []
    }
    const message = parsed.ok ? `${parsed.value.email} is no recipient of this message.` : parsed.message
    return [{ path: `/recipients/${index}`, message }]
  })
  if (faults.length > 0) throw invalidRequest(faults)
  return all.filter(({ address }) => chosen.has(mailboxOf(address)))
}

const withoutErased = (mailboxes: readonly Mailbox[]) =>
  mailboxes.filter(({ address }) => address.domain !== erasedDomain)

type Content = Pick<
  ValidatedMessage,
  'replyTo' | 'to' | 'cc' | 'subject' | 'text' | 'html' | 'headers' | 'attachments' | 'raw' | 'unsubscribe'
> & { from?: ValidatedMessage['from'] }

/** What was written into the header for a way to unsubscribe of the sender's own stands there still. */
function contentOf(body: StoredBody, { subject }: SentMessage): Content {
  const unsubscribe = body.unsubscribeBase === undefined ? null : ({ kind: 'ours' } as const)
  if (body.kind === 'fields') {
    const { messageId: _, date: __, boundarySeed: ___, ...composition } = body.composition
    const shown = { to: withoutErased(composition.to), cc: withoutErased(composition.cc) }
    return { ...composition, ...shown, raw: null, unsubscribe }
  }
  const checked = checkRaw(body.bytes, 'dropped')
  if (!checked.ok) throw new Error(`a stored raw message was refused: ${checked.message}`)
  const none = { replyTo: [], to: [], cc: [], headers: [], attachments: [], text: null, html: null }
  return { ...none, subject, raw: checked.value, unsubscribe }
}

function sizeOf({ raw, text, html, attachments }: Content): number {
  if (raw !== null) return checkedSizeBytes(raw)
  const attached = attachments.reduce((sum, { content }) => sum + content.length, 0)
  return Buffer.byteLength(text ?? '') + Buffer.byteLength(html ?? '') + Math.ceil((attached * 4) / 3)
}
