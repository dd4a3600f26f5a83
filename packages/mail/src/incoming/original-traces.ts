/**
 * What a report quotes of the mail that it is about: the means by which it is told whose it is.
 *
 * The header of the returned mail is looked for in parts of its types first, then in whatever follows a line that looks like
 * the beginning of one. Our own return path has a form that nothing else has, so it is looked for in all of the mail.
 */
import { addressParser } from 'postal-mime'
import { type OriginalTraces, RECIPIENT_TOKEN_HEADER } from './incoming-mail.ts'
import { type Field, type MailParts, readFields, textOf } from './mail-parts.ts'

const RETURNED =
  /^(?:message\/(?:rfc822|global|partial|.{0,10}rfc822.{0,10}|global-headers)|text\/rfc822-?headers?)$/
const OUR_RETURN_PATH = /\bb-[a-z2-7]{58}@[a-z0-9][a-z0-9.-]{0,253}/i
const MESSAGE_ID = /<[^\s<>@]{1,250}@[^\s<>@]{1,250}>/
const TOKEN = new RegExp(`^[> \\t]{0,8}${RECIPIENT_TOKEN_HEADER}[ \\t]{0,5}:[ \\t]{0,5}([!-~]{1,200})`, 'im')
const MAX_HEADER = 65_536

export function isReturnedMail(type: string): boolean {
  return RETURNED.test(type)
}

/** The header of the returned mail, where the report has it; empty otherwise. */
export async function originalFields(mail: MailParts): Promise<Field[]> {
  for (const part of mail.parts) {
    if (!isReturnedMail(part.type)) continue
    const fields = await readFields(part.content.subarray(0, MAX_HEADER))
    if (isHeader(fields)) return fields
  }
  return originalInText(mail.body)
}

export async function readTraces(mail: MailParts): Promise<OriginalTraces> {
  const fields = await originalFields(mail)
  const value = (name: string) => fields.find((field) => field.name === name)?.value ?? null
  const everything = [
    mail.text,
    mail.body,
    ...mail.parts.map((part) => textOf(part.content.subarray(0, MAX_HEADER))),
  ]
  return {
    messageId: MESSAGE_ID.exec(value('message-id') ?? '')?.[0] ?? null,
    returnPath: firstMatch(OUR_RETURN_PATH, everything)?.[0].toLowerCase() ?? null,
    recipientToken: value(RECIPIENT_TOKEN_HEADER.toLowerCase()) ?? firstMatch(TOKEN, everything)?.[1] ?? null,
    from: firstAddress(value('from')),
    to: firstAddress(value('to')),
    subject: value('subject'),
  }
}

/** Returned mails in the text of the report itself begin with their trace fields, perhaps quoted or indented. */
async function originalInText(body: string): Promise<Field[]> {
  const start = /^[> \t]{0,4}(?:return-path|received|message-id|from|date|subject)[ \t]{0,5}:/im
  const at = start.exec(body)?.index
  if (at === undefined) return []
  const text = body.slice(at, at + MAX_HEADER).replace(/^>[ \t]?/gm, '')
  const fields = await readFields(text)
  return isHeader(fields) ? fields : []
}

function isHeader(fields: readonly Field[]): boolean {
  return fields.some(({ name }) => ['from', 'to', 'message-id', 'subject', 'received', 'date'].includes(name))
}

function firstMatch(pattern: RegExp, texts: readonly string[]): RegExpExecArray | null {
  for (const text of texts) {
    const match = pattern.exec(text)
    if (match !== null) return match
  }
  return null
}

function firstAddress(value: string | null): string | null {
  if (value === null) return null
  const [first] = addressParser(value.slice(0, 8_000), { flatten: true })
  return first?.address === undefined || first.address === '' ? null : first.address
}
