/**
 * Mails read back by programs that had no part in writing them: postal-mime, and Python's email package where there is a
 * Python. Both give the same plain shape, so that one expectation holds for both.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import PostalMime, { type Address, decodeWords } from 'postal-mime'
import { startProcess } from './processes.ts'
import { needsProgram } from './until.ts'

export type ReadMail = {
  /** Display name (empty without one) and address. */
  from: [string, string][]
  to: [string, string][]
  cc: [string, string][]
  reply_to: [string, string][]
  subject: string
  /** Every field of the header in its order: lower-case name, decoded and unfolded value. */
  headers: [string, string][]
  /** With LF line ends. */
  text: string | null
  html: string | null
  attachments: {
    filename: string
    content_type: string
    content_id: string | null
    disposition: string
    size: number
    sha256: string
  }[]
}

export type MailReader = { reader: string; isAbsent: boolean; read: (raw: Buffer) => Promise<ReadMail> }

export const mailReaders: MailReader[] = [
  { reader: 'postal-mime', isAbsent: false, read: readByPostalMime },
  { reader: 'Python', isAbsent: needsProgram('python3'), read: readByPython },
]

const withLineFeeds = (text: string): string => text.replace(/\r\n?/g, '\n')

export async function readByPostalMime(raw: Buffer): Promise<ReadMail> {
  const mail = await PostalMime.parse(raw, { attachmentEncoding: 'arraybuffer' })
  const pairs = (addresses: readonly Address[] = []): [string, string][] =>
    addresses.map(({ name, address }) => [name, address ?? ''])
  return {
    from: pairs(mail.from ? [mail.from] : []),
    to: pairs(mail.to),
    cc: pairs(mail.cc),
    reply_to: pairs(mail.replyTo),
    subject: mail.subject ?? '',
    headers: mail.headers.map(({ key, value }) => [key, decodeWords(value)]),
    text: mail.text === undefined ? null : withLineFeeds(mail.text),
    html: mail.html === undefined ? null : withLineFeeds(mail.html),
    attachments: mail.attachments.map((part) => {
      const content = Buffer.from(part.content as ArrayBuffer)
      return {
        filename: part.filename ?? '',
        content_type: part.mimeType,
        content_id: part.contentId?.replace(/^<(.*)>$/, '$1') ?? null,
        disposition: part.disposition ?? '',
        size: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      }
    }),
  }
}

async function readByPython(raw: Buffer): Promise<ReadMail> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-mail-'))
  try {
    const file = path.join(folder, 'mail.eml')
    await writeFile(file, raw)
    const program = startProcess('python3', [path.join(import.meta.dirname, 'read-mail.py'), file])
    const { code } = await program.ended
    if (code !== 0) throw new Error(`python3 ended with ${code}:\n${program.lines.join('\n')}`)
    return JSON.parse(program.lines.join('')) as ReadMail
  } finally {
    await rm(folder, { recursive: true })
  }
}
