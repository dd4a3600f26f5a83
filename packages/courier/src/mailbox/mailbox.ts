/**
 * The port of a mailbox in which bounces land: what is there, what a mail says, and out of the way with it once that is written down.
 *
 * Two implementations, IMAP (imap-mailbox.ts) and POP3 (pop3-mailbox.ts), run through `mailbox.conformance.io.test.ts` against a real server.
 * Whoever is at the other end is not trusted: all that is awaited has a total deadline, and all that is read a bound.
 */
import type { MailboxTrouble, MailboxTroubleCode } from '@valija/core'

export interface MailboxTarget {
  protocol: 'imap' | 'pop3'
  host: string
  port: number
  /** `implicit`: TLS from the first byte (RFC 8314). `starttls`: STARTTLS or STLS, or not at all. Both verified. `none`: plaintext. */
  tls: 'implicit' | 'starttls' | 'none'
  user: string
  password: string
  /** Of IMAP: what is read, and where what was applied is moved to. Of POP3 both are null. */
  folder: string | null
  doneFolder: string | null
  /** Extra trusted certificate (PEM); absent: the system's authorities alone. */
  ca?: string
}

/**
 * An open mailbox. One call at a time. Whatever fails throws a `MailboxFailure`, and the session is good for nothing but `close` from then on.
 */
export interface MailboxSession {
  /** Whether `waitForNews` hears of new mail by itself (IDLE, RFC 2177). */
  readonly canWait: boolean
  /**
   * What is in the mailbox, oldest first: names that stay the same while the mail is there. POP3: the unique-id (RFC 1939 section 7); IMAP:
   * UIDVALIDITY and UID as `validity.uid`, because a UID alone says nothing after the server has made them anew (RFC 9051 section 2.3.1.1).
   */
  list(): Promise<readonly string[]>
  /** A mail of `list`, left as unread as it was; null when it is gone meanwhile. */
  read(id: string): Promise<MailboxMail | null>
  /**
   * Takes mails out of the way: IMAP moves them to the done folder at once, POP3 deletes them, which takes effect with `finish`. Names that
   * are gone already are no error.
   */
  remove(ids: readonly string[]): Promise<void>
  /** Resolves when something may have come, when the time is over, or when `stop` is aborted. Only where `canWait`. */
  waitForNews(waitMs: number, stop: AbortSignal): Promise<void>
  /** Ends the session as the protocol wants it: what POP3 was to delete is deleted when this resolves. */
  finish(): Promise<void>
  /** Drops the connection. May be called at any time, also twice. */
  close(): void
}

export interface MailboxMail {
  /** The mail as it is stored; of one that is too long its first `maxMailBytes`. */
  bytes: Buffer
  isCut: boolean
}

/** In milliseconds, each in all: a server that drips one byte at a time ends on time. */
export interface MailboxLimits {
  /** Lookup, TCP and TLS from the first byte. */
  connectMs: number
  /** From the greeting until the folder is open. */
  openMs: number
  listMs: number
  /** One mail, whatever its length. */
  readMs: number
  removeMs: number
  finishMs: number
  /** A mailbox that holds more is not looked through. */
  maxMails: number
  /** Of a longer mail the rest is left out. */
  maxMailBytes: number
}

/**
 * 10 MB hold any report: a DMARC report of a large receiver has some hundred KB, and of a bounce that quotes a whole mail what we need stands in
 * front of the quotation (RFC 3462). 50,000 names are 4 MB in memory.
 */
export const defaultMailboxLimits: MailboxLimits = {
  connectMs: 20_000,
  openMs: 30_000,
  listMs: 60_000,
  readMs: 120_000,
  removeMs: 60_000,
  finishMs: 10_000,
  maxMails: 50_000,
  maxMailBytes: 10_000_000,
}

/** Why a mailbox cannot be worked with; `trouble.detail` has the other side's words on one line. */
export class MailboxFailure extends Error {
  override name = 'MailboxFailure'
  readonly trouble: MailboxTrouble

  constructor(code: MailboxTroubleCode, detail: string, options?: ErrorOptions) {
    const line = oneLine(detail)
    super(`${code}: ${line}`, options)
    this.trouble = { code, detail: line }
  }
}

/** Nothing came after the connection: mail servers speak first (RFC 9051 section 7.1.5, RFC 1939 section 4), others wait. */
export function noGreeting(protocol: 'IMAP' | 'POP3', waitedMs: number): MailboxFailure {
  const waited = `${Math.round(waitedMs / 1000)} s`
  return new MailboxFailure(
    'no_greeting',
    `no ${protocol} greeting came within ${waited}: is it the right port and TLS mode?`,
  )
}

const maxDetail = 500

/** What somebody else said, fit to be stored and shown. */
function oneLine(text: string): string {
  const line = text
    .toWellFormed()
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim()
  return line.length > maxDetail ? `${line.slice(0, maxDetail)}…`.toWellFormed() : line
}
