/** Reads the messages of a batch, each by itself: its key, its shape, and all that is wrong with it. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { type FieldFault, findIdempotencyKeyFault, invalidRequest, type MessageInput } from '@valija/core'
import type { BatchEntry } from '@valija/flows'
import type { FastifySchemaValidationError } from 'fastify'
import { maxBatchRecipients } from '../../schemas/batch-input.ts'
import { toFieldFaults } from '../../validation-faults.ts'
import type { Validator } from '../../validators.ts'
import { findFurtherFaults } from './further-faults.ts'

/**
 * All faults are searched in so many octets of messages that are refused, each of at most the other number (validators.ts: a message
 * that is nothing but faults takes 0.1 s); beyond, the first one of each message is named.
 */
const maxSearchedBytes = { inAll: 256 * 1024, each: 64 * 1024 }
const turnMs = 10

/**
 * @param validate of one message
 * @throws {ProductError} invalid_request for more recipients than one commit takes
 */
export async function readBatch(messages: readonly unknown[], validate: Validator): Promise<BatchEntry[]> {
  const recipients = messages.reduce((sum: number, message) => sum + countRecipients(message), 0)
  if (recipients > maxBatchRecipients) {
    const message = `There are ${recipients} recipients in all; at most ${maxBatchRecipients} are allowed. Send several batches.`
    throw invalidRequest([{ path: '/messages', message }])
  }
  const search = { leftBytes: maxSearchedBytes.inAll }
  const entries: BatchEntry[] = []
  let turnEndMs = performance.now() + turnMs
  for (const message of messages) {
    if (performance.now() > turnEndMs) {
      await setImmediate()
      turnEndMs = performance.now() + turnMs
    }
    entries.push(readEntry(message, validate, search))
  }
  return entries
}

function readEntry(message: unknown, validate: Validator, search: { leftBytes: number }): BatchEntry {
  // Before the validator fills in what is usual.
  const { key, bodyHash, input } = splitKey(message)
  const faults = validate(message) ? [] : findFaults(message, validate, search)
  const keyFault = typeof key === 'string' ? findIdempotencyKeyFault(key) : null
  if (keyFault !== null) faults.push({ path: '/idempotency_key', message: keyFault })
  if (faults.length > 0) return invalidRequest(faults)
  if (typeof key !== 'string' || bodyHash === null) return { input: message as MessageInput, claim: null }
  return { input: input as unknown as MessageInput, claim: { key, bodyHash } }
}

/**
 * The key stands for the message without it, as compact JSON in its own order of fields: the octets that POST /send gets from a client
 * which sends the same message alone.
 */
function splitKey(message: unknown) {
  if (typeof message !== 'object' || message === null || !Object.hasOwn(message, 'idempotency_key'))
    return { key: undefined, bodyHash: null, input: message }
  const { idempotency_key: key, ...input } = message as Record<string, unknown>
  return { key, bodyHash: createHash('sha256').update(JSON.stringify(input)).digest(), input }
}

function findFaults(message: unknown, validate: Validator, search: { leftBytes: number }): FieldFault[] {
  const first = validate.errors as FastifySchemaValidationError[]
  const all = searchAll(message, validate, search)
  const faults = toFieldFaults(all ?? first, 'body')
  const named = new Set(faults.map(({ path }) => path))
  const further = findFurtherFaults(message, faults, all && validate)
  return [...faults, ...further.filter(({ path }) => !named.has(path))]
}

/** @returns null where there are too many octets to search */
function searchAll(message: unknown, validate: Validator, search: { leftBytes: number }) {
  const bytes = Buffer.byteLength(JSON.stringify(message))
  if (bytes > Math.min(maxSearchedBytes.each, search.leftBytes)) return null
  search.leftBytes -= bytes
  const thorough = validate.toThorough?.()
  if (thorough === undefined || thorough(message)) return null
  return thorough.errors as FastifySchemaValidationError[]
}

function countRecipients(message: unknown): number {
  if (typeof message !== 'object' || message === null) return 0
  const { to, cc, bcc } = message as Record<string, unknown>
  const countOf = (list: unknown) => (Array.isArray(list) ? list.length : list === undefined ? 0 : 1)
  return countOf(to) + countOf(cc) + countOf(bcc)
}
