/**
 * Composed mails of this worker: bodies come with the lease, or are read in batches, composed and signed once per message and shared by its recipients,
 * and forgotten when the last of them is done. Where each recipient has a link of its own, the composition is shared, and what
 * is signed is each one's.
 */
import type { UnsubscribeTokens, Uuid } from '@valija/core'
import { compose, needsSmtpUtf8 } from '@valija/mail'
import { type Database, decodeBody, type ReadBody, readBodies } from '@valija/store'
import { createBatcher } from './batcher.ts'
import { personalise, type Reader, type SharedMail } from './personal-mail.ts'
import type { ReportFields } from './report-fields.ts'
import { createRoom, type Room, type RoomLimits } from './room.ts'
import type { MailSigner, Signing } from './sign-mail.ts'

export interface ComposedMail {
  /** RFC 5322 text, ready to be sent. */
  bytes: Buffer
  needsSmtpUtf8: boolean
}

/** The body is gone or cannot be composed: no later try can help. */
export class ComposeError extends Error {
  override name = 'ComposeError'
}

/** Too much is in this worker's hands already: later, or elsewhere. */
export class NoRoomError extends Error {
  override name = 'NoRoomError'
}

export interface Compositions {
  /**
   * Gives the recipient's mail, composing and signing it for its first reader. Call `release` once for every call of this.
   *
   * @throws {ComposeError} when it cannot be composed
   * @throws {NoRoomError} when it is large and many such are in hand
   * @throws {SigningError} when it is to be signed and cannot be; any other error is the database's or the machine's and passes
   */
  acquire(reader: Reader, signing: Signing): Promise<ComposedMail>
  release(reader: Reader, signing: Pick<Signing, 'tenantId' | 'rewritesIds'>): void
}

/** A body above this is read alone, and only when there is room for it. */
const largeBytes = 256 * 1024
/**
 * Large bodies in the worker's hands at once, in octets as stored: three of 40 MB. Read, decoded, composed and signed, each
 * takes some four times that while it is made, and once when it is sent. Small ones are bounded by the number of sockets.
 */
const largeRoom: RoomLimits = {
  total: 128 * 1024 * 1024,
  // Two of 40 MB, whose receivers may take an hour for them; the third's place is for the others.
  perOwner: 80 * 1024 * 1024,
  // A session is held meanwhile, and a place at the site.
  patienceMs: 2_000,
}

/** Bodies read in one query. */
const batchLimits = { maxItems: 64, maxWeight: 64 }

interface Held {
  /** Signed, unless each reader has it signed for itself. Null after a failure: the next reader tries again. */
  mail: Promise<SharedMail> | null
  readers: number
  /** Who has its octets of the room. */
  tenantId: string
  /** Octets of the room for large bodies that it has. */
  largeBytes: number
  /** Readers with a copy of their own of a large mail, and the octets of the room for copies that each has. */
  copies: Map<Uuid, number>
}

export interface CompositionParts {
  database: Database
  reportFields: ReportFields
  signer: MailSigner
  unsubscribeTokens: UnsubscribeTokens
}

export function createCompositions(parts: CompositionParts, roomLimits = largeRoom): Compositions {
  const { signer, unsubscribeTokens } = parts
  const large = createRoom(roomLimits)
  // Of its own: who has the mail and waits for a copy of it must not be what keeps the copy out.
  const copies = createRoom(roomLimits)
  const share = createSharing(parts, large)
  const held = new Map<string, Held>()
  const keyOf = (messageId: Uuid, { rewritesIds }: Pick<Signing, 'rewritesIds'>) =>
    `${messageId} ${rewritesIds}`

  const mailFor = async (entry: Held, reader: Reader, signing: Signing): Promise<ComposedMail> => {
    const mail = await share(entry, reader, signing)
    if (mail.unsubscribeBase === null) return mail
    if (entry.largeBytes > 0) {
      if (!(await copies.enter(signing.tenantId, mail.bytes.length)))
        throw new NoRoomError('Too many copies of large mails are in hand.')
      entry.copies.set(reader.recipientId, mail.bytes.length)
    }
    const bytes = personalise(mail, unsubscribeTokens, signing.tenantId, reader)
    return { ...mail, bytes: await signer.sign(bytes, signing) }
  }
  return {
    acquire: (reader, signing) => {
      const key = keyOf(reader.messageId, signing)
      const entry = held.get(key) ?? {
        mail: null,
        readers: 0,
        tenantId: '',
        largeBytes: 0,
        copies: new Map(),
      }
      held.set(key, entry)
      entry.readers += 1
      return mailFor(entry, reader, signing)
    },
    release: ({ messageId, recipientId }, signing) => {
      const key = keyOf(messageId, signing)
      const entry = held.get(key)
      if (entry === undefined) return
      const copied = entry.copies.get(recipientId)
      if (copied !== undefined) copies.leave(signing.tenantId, copied)
      entry.copies.delete(recipientId)
      entry.readers -= 1
      if (entry.readers > 0) return
      held.delete(key)
      leave(large, entry)
    },
  }
}

type Share = (entry: Held, reader: Reader, signing: Signing) => Promise<SharedMail>

/** What all readers of a mail have in common, made for the first of them. */
function createSharing({ database, signer, reportFields }: CompositionParts, large: Room): Share {
  const read = createBatcher(
    async (ids: Uuid[]) => {
      const bodies = await readBodies(database.engine, [...new Set(ids)], largeBytes)
      return ids.map((id) => bodies.get(id) ?? null)
    },
    { ...batchLimits, weigh: () => 1, isItemsFault: () => false },
  )
  const find = async ({ messageId, body }: Reader): Promise<ReadBody | null> =>
    body ? { sizeBytes: body.length, content: body } : read.add(messageId)
  const make = async (entry: Held, reader: Reader, signing: Signing): Promise<SharedMail> => {
    const { messageId } = reader
    const body = await find(reader)
    if (body === null) throw new ComposeError('The stored body is gone.')
    if (body.content === null) {
      if (!(await large.enter(signing.tenantId, body.sizeBytes)))
        throw new NoRoomError('Too many large mails are in hand.')
      entry.tenantId = signing.tenantId
      entry.largeBytes = body.sizeBytes
    }
    const blob = body.content ?? (await readAlone(database, messageId))
    const { fromDomain, signedAt } = signing
    const mail = await composeStored(blob, reportFields({ messageId, fromDomain, signedAt }))
    return mail.unsubscribeBase === null ? { ...mail, bytes: await signer.sign(mail.bytes, signing) } : mail
  }
  return (entry, reader, signing) => {
    if (entry.mail) return entry.mail
    const mail = make(entry, reader, signing)
    entry.mail = mail
    mail.catch(() => {
      if (entry.mail === mail) entry.mail = null
      leave(large, entry)
    })
    return mail
  }
}

function leave(large: Room, entry: Held): void {
  if (entry.largeBytes > 0) large.leave(entry.tenantId, entry.largeBytes)
  entry.largeBytes = 0
}

async function readAlone(database: Database, messageId: Uuid): Promise<Buffer> {
  const bodies = await readBodies(database.engine, [messageId], Number.POSITIVE_INFINITY)
  const content = bodies.get(messageId)?.content
  if (!content) throw new ComposeError('The stored body is gone.')
  return content
}

/**
 * The RFC 5322 text of a stored body.
 *
 * @param ahead fields that stand before those of a mail that we compose (report-fields.ts)
 * @throws {ComposeError}; any other error is the machine's
 */
export async function composeStored(blob: Buffer, ahead: string): Promise<SharedMail> {
  const body = await orComposeError(() => decodeBody(blob))
  const unsubscribeBase = body.unsubscribeBase ?? null
  // What its sender has written whole stays so: its bounces are known by their return path alone.
  if (body.kind === 'raw') return { bytes: body.bytes, needsSmtpUtf8: body.needsSmtpUtf8, unsubscribeBase }
  const { composition } = body
  const bytes = await orComposeError(() => compose(composition, ahead))
  return { bytes, needsSmtpUtf8: needsSmtpUtf8(composition), unsubscribeBase }
}

/** @throws {ComposeError} for what is wrong with the mail; the machine's own trouble passes, so that the mail is tried again */
export async function orComposeError<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (isOfTheMachine(cause)) throw cause
    throw new ComposeError('The mail could not be composed.', { cause })
  }
}

/** A file that cannot be read, now or while an upgrade replaces it, and memory that cannot be had. */
function isOfTheMachine(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code = '', syscall } = error as NodeJS.ErrnoException
  if (syscall !== undefined || /MODULE_NOT_FOUND$|memory_allocation$/.test(code)) return true
  return error instanceof RangeError && /allocation failed/.test(error.message)
}
