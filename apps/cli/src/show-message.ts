/** Messages, events and attempts for people. */
import type { Attempt, ChangedMessage, Message, MessageSummary, ValijaEvent } from '@valija/client'
import { counted } from './in-commands.ts'
import { print, printFields, printTable } from './output.ts'
import type { Cell } from './text-table.ts'

/** With the fields that the key may see. */
export function showMessage(message: ChangedMessage): void {
  const { id, status, from, subject, stream, tags, metadata, size_bytes, rfc_message_id, content } = message
  printFields([
    ['id', id],
    ['status', status],
    ['from', from],
    ['subject', subject],
    ...(content === undefined || content.state === 'kept'
      ? []
      : [['content', contentText(content)] as const]),
    ...(message.template ? [['template', templateText(message.template)] as const] : []),
    ...(message.resent_from ? [['sent again from', message.resent_from] as const] : []),
    ['stream', stream],
    ['tags', tags?.join(' ')],
    ['metadata', metadata && pairs(metadata)],
    ['accepted', message.created_at],
    ['send at', message.send_at],
    ['given up at', message.expires_at],
    ['Message-ID', rfc_message_id],
    ['octets', size_bytes],
  ])
  print('\n')
  showRecipients(message.recipients)
  const erased = message.recipients.filter(({ email }) => isErased.test(email)).length
  if (erased > 0)
    print(
      `\n${counted(erased, 'address was', 'addresses were')} erased, and what was said to ${erased === 1 ? 'it' : 'them'}.\n`,
    )
}

/** The placeholder that stands for an erased address (the API's Erasure). */
const isErased = /^erased-[0-9a-f]{32}@erased\.invalid$/

export function showRecipients(recipients: ChangedMessage['recipients']): void {
  printTable(
    ['recipient', 'type', 'status', 'attempts', 'next attempt', 'reason', 'reply'],
    recipients.map((one) => [
      ...[one.email, one.type, one.status, one.attempts],
      ...[one.next_attempt_at, one.reason, one.reply],
    ]),
  )
}

/** The columns of a list of messages. */
export const messageColumns: Readonly<Record<string, (message: MessageSummary) => Cell>> = {
  id: ({ id }) => id,
  accepted: ({ created_at }) => created_at,
  status: ({ status }) => status,
  to: ({ recipient_count }) => recipient_count,
  from: ({ from }) => from,
  subject: ({ subject, content }) =>
    subject === '' && content.state !== 'kept' ? `(${content.state})` : subject,
}

const contentText = ({ state, since }: MessageSummary['content']) =>
  `${state}${since === null ? '' : ` since ${since}`}: it is not kept any more`

export const eventColumns: Readonly<Record<string, (event: ValijaEvent) => Cell>> = {
  time: ({ timestamp }) => timestamp,
  type: ({ type }) => type,
  seq: ({ data }) => cell(data.seq),
  recipient: ({ data }) => cell(data.email),
  reason: ({ data }) => cell(data.reason),
  reply: ({ data }) => cell(data.reply),
}

export const attemptColumns: Readonly<Record<string, (attempt: Attempt) => Cell>> = {
  began: ({ started_at }) => started_at,
  number: ({ number }) => number,
  outcome: ({ outcome, uncertain }) => (uncertain ? `${outcome}, uncertain` : outcome),
  route: ({ route }) => route,
  host: ({ host, port }) => (host === null || port === null ? host : `${host}:${port}`),
  TLS: ({ tls }) => (tls === null ? 'no' : `${tls.version}${tls.verified ? ', verified' : ''}`),
  ms: ({ duration_ms }) => Math.round(duration_ms),
  phase: ({ phase }) => phase,
  reply: ({ reply }) => reply,
}

export function transcriptText({ number, host, transcript }: Attempt): string {
  const lines = transcript.map(
    ({ t_ms, from, line }) =>
      `${String(Math.round(t_ms)).padStart(6)} ms ${from === 'client' ? '>' : '<'} ${line.replace(/\p{Cc}+/gu, ' ')}\n`,
  )
  const said = lines.length === 0 ? '       no SMTP conversation was held\n' : lines.join('')
  return `\nattempt ${number}, ${host ?? 'nobody was reached'}\n${said}`
}

const cell = (value: unknown): Cell => (typeof value === 'string' || typeof value === 'number' ? value : null)

/** A version of a template. */
export const templateText = ({ slug, version }: NonNullable<Message['template']>) =>
  `${slug}, version ${version}`

const pairs = (values: Record<string, string>) =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
