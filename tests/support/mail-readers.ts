/**
 * What a reader finds in a mail, by two programs that had no part in writing it: postal-mime (Node) and Python's email package.
 */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { domainToASCII } from 'node:url'
import { promisify } from 'node:util'
import PostalMime, { type Address, decodeWords } from 'postal-mime'
import { needsProgram } from './until.ts'

export interface ReadMail {
  from: [name: string, email: string][]
  to: [name: string, email: string][]
  cc: [name: string, email: string][]
  replyTo: [name: string, email: string][]
  subject: string
  /** Those of the names that were asked for, in lower case, in order. */
  headers: [name: string, value: string][]
  messageId: string
  dateMs: number
  /** Empty where there is none: MIME has both. */
  text: string | null
  html: string | null
  files: ReadFile[]
}

export interface ReadFile {
  filename: string | null
  /** Without its parameters. */
  type: string
  disposition: string | null
  /** With its angle brackets. */
  contentId: string | null
  /** In base64. */
  content: string
}

export type MailReader = {
  reader: string
  isAbsent: boolean
  read: (mails: readonly Buffer[], names: readonly string[]) => Promise<ReadMail[]>
}

export function mailReaders(): MailReader[] {
  return [
    { reader: 'postal-mime', isAbsent: false, read: readByPostalMime },
    { reader: 'Python', isAbsent: needsProgram('python3'), read: readByPython },
  ]
}

async function readByPostalMime(mails: readonly Buffer[], names: readonly string[]): Promise<ReadMail[]> {
  const found: ReadMail[] = []
  for (const bytes of mails) {
    const mail = await PostalMime.parse(bytes)
    const fieldOf = (name: string) => mail.headers.find(({ key }) => key === name)?.value ?? ''
    found.push({
      from: mailboxesOf(mail.from && [mail.from]),
      ...{ to: mailboxesOf(mail.to), cc: mailboxesOf(mail.cc), replyTo: mailboxesOf(mail.replyTo) },
      subject: mail.subject ?? '',
      headers: mail.headers
        .filter(({ key }) => names.includes(key))
        .map(({ key, value }) => [key, decodeWords(value)]),
      messageId: fieldOf('message-id'),
      dateMs: Date.parse(fieldOf('date')),
      text: mail.text ?? null,
      html: mail.html ?? null,
      files: mail.attachments.map((file) => ({
        ...{ filename: file.filename, type: file.mimeType, disposition: file.disposition },
        contentId: file.contentId ?? null,
        content: Buffer.from(file.content as ArrayBuffer).toString('base64'),
      })),
    })
  }
  return found.map(canonical)
}

async function readByPython(mails: readonly Buffer[], names: readonly string[]): Promise<ReadMail[]> {
  const script = path.join(import.meta.dirname, 'read-mails.py')
  const running = promisify(execFile)('python3', [script], { maxBuffer: 512 * 1024 * 1024 })
  running.child.stdin?.end(JSON.stringify({ names, mails: mails.map((mail) => mail.toString('base64')) }))
  return (JSON.parse((await running).stdout) as ReadMail[]).map(canonical)
}

const mailboxesOf = (found: Address[] = []): ReadMail['to'] =>
  found.map(({ name, address }) => [name, address ?? ''])

/** Without what MIME does not keep (the kind of the line ends, and the last of them), and with one form of each domain. */
export function canonical(mail: ReadMail): ReadMail {
  const lines = (text: string | null) => (text ?? '').replace(/\r\n|\r|\n/g, '\n').replace(/\n+$/, '')
  const mailboxes = (found: ReadMail['to']) =>
    found.map(([name, email]) => [name, asciiDomain(email)] as [string, string])
  return {
    ...mail,
    ...{
      from: mailboxes(mail.from),
      to: mailboxes(mail.to),
      cc: mailboxes(mail.cc),
      replyTo: mailboxes(mail.replyTo),
    },
    ...{ text: lines(mail.text), html: lines(mail.html) },
    files: mail.files.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  }
}

function asciiDomain(email: string): string {
  const at = email.lastIndexOf('@') + 1
  return email.slice(0, at) + domainToASCII(email.slice(at))
}
