/**
 * Composed mails of this worker: bodies are read in batches, composed once per message and shared by its recipients, and
 * forgotten when the last of them is done.
 */
import type { Uuid } from '@valija/core'
import { compose, needsSmtpUtf8 } from '@valija/mail'
import { type Database, decodeBody, readBodies } from '@valija/store'
import { createBatcher } from './batcher.ts'

export interface ComposedMail {
  /** RFC 5322 text, ready to be sent. */
  bytes: Buffer
  needsSmtpUtf8: boolean
}

/** The body is gone or cannot be composed: no later try can help. */
export class ComposeError extends Error {
  override name = 'ComposeError'
}

export interface Compositions {
  /**
   * Gives the mail, composing it for its first reader. Call `release` once for every call of this.
   *
   * @throws {ComposeError} when it cannot be composed; any other error is the database's and passes
   */
  acquire(messageId: Uuid): Promise<ComposedMail>
  release(messageId: Uuid): void
}

/** Bodies read in one query. */
const batchLimits = { maxItems: 64, maxWeight: 64 }

export function createCompositions(database: Database): Compositions {
  const read = createBatcher(
    async (ids: Uuid[]) => {
      const bodies = await readBodies(database.engine, [...new Set(ids)])
      return ids.map((id) => bodies.get(id) ?? null)
    },
    { ...batchLimits, weigh: () => 1, isItemsFault: () => false },
  )
  const held = new Map<Uuid, { mail: Promise<ComposedMail>; readers: number }>()

  const make = async (messageId: Uuid): Promise<ComposedMail> => {
    const blob = await read.add(messageId)
    if (blob === null) throw new ComposeError('The stored body is gone.')
    return composeStored(blob)
  }
  return {
    acquire: (messageId) => {
      const known = held.get(messageId)
      if (known) {
        known.readers += 1
        return known.mail
      }
      const mail = make(messageId)
      held.set(messageId, { mail, readers: 1 })
      return mail
    },
    release: (messageId) => {
      const known = held.get(messageId)
      if (known === undefined) return
      known.readers -= 1
      if (known.readers === 0) held.delete(messageId)
    },
  }
}

/**
 * The RFC 5322 text of a stored body.
 *
 * @throws {ComposeError}
 */
export async function composeStored(blob: Buffer): Promise<ComposedMail> {
  try {
    const body = decodeBody(blob)
    if (body.kind === 'raw') return { bytes: body.bytes, needsSmtpUtf8: body.needsSmtpUtf8 }
    return { bytes: await compose(body.composition), needsSmtpUtf8: needsSmtpUtf8(body.composition) }
  } catch (cause) {
    throw new ComposeError('The mail could not be composed.', { cause })
  }
}
