/**
 * POST /send/preview: what POST /send would make of a message: the mail as it would go out, whether it would pass with a receiving
 * server, and what is likely to go wrong. By the same rules, with the same refusals; nothing is stored and nothing is sent.
 */
import type { Caller, MessageInput, RecipientType, Uuid } from '@valija/core'
import type { Resolver } from '@valija/courier'
import { writeUnsubscribeFields } from '@valija/mail'
import { type Database, findSuppressionHits, type NewMessage, parseMail } from '@valija/store'
import { composeStored } from './compositions.ts'
import type { SendingHost } from './domain-hosts.ts'
import { type Authentication, judgeAuthentication } from './judge-authentication.ts'
import type { SharedMail } from './personal-mail.ts'
import { findWarnings, type PreviewWarning } from './preview-warnings.ts'
import type { ReportFields } from './report-fields.ts'
import type { ReturnPaths } from './return-path.ts'
import { returnPathOf } from './route-candidates.ts'
import type { RouteDirectory } from './route-directory.ts'
import type { SendDesk } from './send-message.ts'
import { readSenderStanding } from './sender-standing.ts'
import { type MailSigner, SigningError } from './sign-mail.ts'

export interface PreviewedRecipient {
  email: string
  type: RecipientType
  /** Why it would not be sent to; null when it would. */
  suppressed: string | null
}

export interface MessagePreview {
  delivery: string
  /** The sender in the envelope, of the first recipient: each has one of its own. */
  envelope_from: string
  recipients: PreviewedRecipient[]
  from: string
  subject: string
  text: string | null
  html: string | null
  headers: { name: string; value: string }[]
  attachments: {
    filename: string | null
    content_type: string
    content_id: string | null
    size_bytes: number
  }[]
  /** The mail, signed, in base64. */
  raw: string
  size_bytes: number
  authentication: Authentication
  warnings: PreviewWarning[]
}

export interface PreviewDesk {
  database: Database
  sendDesk: Pick<SendDesk, 'prepare'>
  routes: Pick<RouteDirectory, 'present'>
  returnPaths: Pick<ReturnPaths, 'of'>
  reportFields: ReportFields
  signer: Pick<MailSigner, 'sign'>
  /** One that keeps no answers. */
  resolver: Resolver
  sendingHosts: () => Promise<SendingHost[]>
}

/** @throws {ProductError} what POST /send would refuse it with; {ComposeError} */
export async function previewMessage(
  desk: PreviewDesk,
  caller: Caller,
  input: MessageInput,
): Promise<MessagePreview> {
  const row = await desk.sendDesk.prepare(caller, input)
  const route = desk.routes.present.find(row.tenantId, row.route)
  const { mail, signingFault } = await makeMail(desk, row, route?.rewritesIds ?? false)
  const envelopeFrom = await desk.returnPaths.of(sourceOf(row), {
    returnPath: route === null ? ({ kind: 'verp' } as const) : returnPathOf(route),
  })
  // A relay's own address is not known, and what is caught is sent from none.
  const senders = row.delivery === 'mx' ? await desk.sendingHosts() : []
  const [parsed, authentication, recipients, standing] = await Promise.all([
    parseMail(mail),
    judgeAuthentication(desk.resolver, { mail, fromDomain: row.fromDomain, envelopeFrom, senders }),
    readRecipients(desk.database, row),
    readSenderStanding(desk.database, row.tenantId, row.fromDomain),
  ])
  const { headers, text, html, attachments } = parsed
  return {
    delivery: row.delivery,
    envelope_from: envelopeFrom,
    recipients,
    from: row.fromHeader,
    subject: row.subject,
    text,
    html,
    headers,
    attachments: attachments.map(({ filename, contentType, contentId, content }) => {
      return { filename, content_type: contentType, content_id: contentId, size_bytes: content.length }
    }),
    raw: mail.toString('base64'),
    size_bytes: mail.length,
    authentication,
    warnings: findWarnings({
      ...{ row, parsed, sizeBytes: mail.length, authentication, recipients, signingFault, standing },
    }),
  }
}

async function makeMail({ signer, reportFields }: PreviewDesk, row: NewMessage, rewritesIds: boolean) {
  const { tenantId, fromDomain, id: messageId } = row
  const signedAt = new Date(row.sendAtMs ?? row.createdAtMs)
  const fields = reportFields({ messageId, fromDomain, signedAt })
  const bytes = withSampleLink(await composeStored(row.body, fields))
  try {
    const mail = await signer.sign(bytes, { tenantId, fromDomain, signedAt, rewritesIds })
    return { mail, signingFault: null }
  } catch (error) {
    if (!(error instanceof SigningError)) throw error
    return { mail: bytes, signingFault: error.message }
  }
}

/** A link that unsubscribes nobody: a preview's reader is not the recipient. */
function withSampleLink({ bytes, unsubscribeBase }: SharedMail): Buffer {
  if (unsubscribeBase === null) return bytes
  return Buffer.concat([writeUnsubscribeFields({ url: `${unsubscribeBase}preview`, mailto: null }), bytes])
}

function sourceOf(row: NewMessage) {
  const { tenantId, id: messageId, fromEmail, fromDomain, createdAtMs, sendAtMs } = row
  const sendAt = sendAtMs === null ? null : new Date(sendAtMs)
  return { tenantId, messageId, ordinal: 0, fromEmail, fromDomain, createdAt: new Date(createdAtMs), sendAt }
}

async function readRecipients(
  { engine }: Database,
  { tenantId, stream, recipients }: NewMessage,
): Promise<PreviewedRecipient[]> {
  const keys = recipients.filter(({ simulation }) => simulation === null).map(({ emailKey }) => emailKey)
  const hits = await findSuppressionHits(engine, tenantId as Uuid, stream, keys)
  return recipients.map(({ email, emailKey, type, reason }) => {
    return { email, type, suppressed: hits.get(emailKey) ?? reason }
  })
}
