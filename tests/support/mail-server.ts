/**
 * What real mail servers (postfix.ts, exim.ts) have in common for a test: where they listen, and the mails that they have put into
 * a Maildir, taken apart into what came over the wire and what the server wrote above it.
 */
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Running } from './processes.ts'
import { PATIENCE_MS, until } from './until.ts'

export type StoredMail = {
  /** The recipient of the envelope. */
  to: string
  /** The return path. */
  from: string
  /** What the server wrote above the mail, unfolded: name in lower case, value. */
  trace: [string, string][]
  /** The mail as it was sent: without the server's fields, with CRLF. */
  raw: Buffer
}

export type MailServer = {
  name: string
  host: string
  /** As it calls itself; its certificate says so too. */
  hostName: string
  port: number
  process: Running
  /** All mails so far, in no order. Files are read once. */
  mails: () => Promise<StoredMail[]>
  /** Waits until there are so many mails; fails when there are more. */
  stored: (count: number, timeoutMs?: number) => Promise<StoredMail[]>
  /** Mails that are in its queue. */
  queued: () => Promise<number>
  /** Its log, line by line. */
  log: () => Promise<string[]>
  stop: () => Promise<void>
}

/** Fields that a server puts on top. `Authentication-Results` is a filter's; ours never has one. */
const traceFields = new Set([
  'return-path',
  'x-original-to',
  'delivered-to',
  'envelope-to',
  'delivery-date',
  'received',
  'authentication-results',
])

/** Takes a file of a Maildir apart. The envelope's recipient is in `Delivered-To` (Postfix) or `Envelope-to` (Exim). */
export function readStored(file: Buffer): StoredMail {
  const trace: [string, string][] = []
  let rest = file.toString('latin1')
  for (;;) {
    const field = /^([!-9;-~]+):((?:.*\n)(?:[ \t].*\n)*)/.exec(rest)
    const name = field?.[1]?.toLowerCase() ?? ''
    if (field === null || !traceFields.has(name)) break
    const value = Buffer.from(field[2] ?? '', 'latin1').toString('utf8')
    trace.push([name, value.replace(/\n(?=[ \t])/g, '').trim()])
    rest = rest.slice(field[0].length)
  }
  const fieldOf = (name: string) => trace.find(([known]) => known === name)?.[1]
  return {
    to: fieldOf('delivered-to') ?? fieldOf('envelope-to') ?? '',
    from: (fieldOf('return-path') ?? '').replace(/^<|>$/g, ''),
    trace,
    raw: Buffer.from(rest.replaceAll('\n', '\r\n'), 'latin1'),
  }
}

/** Reads a Maildir again and again, each file once. */
export function maildirReader(folder: string): Pick<MailServer, 'mails' | 'stored'> {
  const known = new Map<string, StoredMail>()
  const read = async () => {
    const names = await readdir(path.join(folder, 'new')).catch(() => [] as string[])
    for (const name of names) {
      if (!known.has(name)) known.set(name, readStored(await readFile(path.join(folder, 'new', name))))
    }
    return [...known.values()]
  }
  return {
    mails: read,
    stored: async (count, timeoutMs = PATIENCE_MS) => {
      const mails = await until(
        `${count} mails in ${folder}`,
        async () => ((await read()).length >= count ? read() : null),
        timeoutMs,
      )
      if (mails.length > count) throw new Error(`${mails.length} mails in ${folder}, and not ${count}`)
      return mails
    },
  }
}

/** The lines of a log that may not be there yet. */
export async function readLines(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(Boolean)
}

export async function untilLogged(log: () => Promise<string[]>, text: string): Promise<string> {
  let lines: string[] = []
  const find = async () => {
    lines = await log()
    return lines.find((line) => line.includes(text))
  }
  return await until(`${text} in the log`, find, 20_000).catch((error: Error) => {
    throw new Error(`${error.message}; the last lines:\n${lines.slice(-20).join('\n')}`)
  })
}
