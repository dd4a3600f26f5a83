/**
 * Whether a webhook is genuine: Standard Webhooks signatures, symmetric scheme `v1` (https://www.standardwebhooks.com, "Signature scheme").
 * By WebCrypto, whose `verify` compares in constant time (Web Cryptography API, HMAC, Verify).
 */
import type { WebhookEvent } from './events.ts'

/** Why a webhook is not to be believed. */
export class WebhookVerificationError extends Error {
  override name = 'WebhookVerificationError'
  /** `missing`: no headers; `stale`: too old or ahead of time; `forged`: no signature of these secrets; `unreadable`: signed, and no event. */
  readonly code: 'missing' | 'stale' | 'forged' | 'unreadable'

  constructor(code: WebhookVerificationError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** `Headers` of fetch, or an object as Node, Express and Fastify have it. */
export type WebhookHeaders =
  | { get(name: string): string | null }
  | Record<string, string | readonly string[] | undefined>

export interface VerifyOptions {
  /** How far `webhook-timestamp` may be from now; 300. */
  toleranceSeconds?: number
}

/**
 * @param rawBody exactly as it came, before any parsing
 * @param secrets `whsec_…`; while it is rotated, the old and the new one, of which one must have signed
 * @returns its events: one, or all of a batch. They come at least once and in no order: drop an `id` that was seen
 * @throws {WebhookVerificationError} answer 400 then
 * @throws {TypeError} when a secret is none
 */
export async function verifyWebhook(
  rawBody: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  { toleranceSeconds = 300 }: VerifyOptions = {},
): Promise<WebhookEvent[]> {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    readHeader(headers, name),
  )
  if (!id || !timestamp || !signatures) {
    throw new WebhookVerificationError('missing', 'The headers of a webhook are missing.')
  }
  if (!/^\d{1,15}$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > toleranceSeconds) {
    throw new WebhookVerificationError('stale', 'The webhook is too old, or ahead of time.')
  }
  const body = typeof rawBody === 'string' ? new TextEncoder().encode(rawBody) : rawBody
  const signed = concat(new TextEncoder().encode(`${id}.${timestamp}.`), body)
  const keys = await Promise.all([secrets].flat().map(importSecret))
  if (!(await isSignedByOne(signed, signatures, keys))) {
    throw new WebhookVerificationError('forged', 'No signature of the webhook is by these secrets.')
  }
  return readEvents(new TextDecoder().decode(body))
}

async function isSignedByOne(
  signed: Uint8Array<ArrayBuffer>,
  signatures: string,
  keys: readonly CryptoKey[],
): Promise<boolean> {
  for (const signature of signatures.split(' ')) {
    const given = signature.startsWith('v1,') ? fromBase64(signature.slice(3)) : null
    if (given === null) continue
    for (const key of keys) if (await crypto.subtle.verify('HMAC', key, given, signed)) return true
  }
  return false
}

function importSecret(secret: string): Promise<CryptoKey> {
  const bytes = fromBase64(secret.replace(/^whsec_/, ''))
  if (bytes === null || bytes.length === 0) throw new TypeError('A webhook secret is whsec_ and base64.')
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
}

function readHeader(headers: WebhookHeaders, name: string): string | null {
  if (typeof headers.get === 'function') return headers.get(name)
  const [, value] = Object.entries(headers).find(([key]) => key.toLowerCase() === name) ?? []
  return typeof value === 'string' ? value : null
}

/** @returns null for what is no base64 */
function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return null
  }
}

function concat(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(left.length + right.length)
  all.set(left)
  all.set(right, left.length)
  return all
}

function readEvents(text: string): WebhookEvent[] {
  try {
    return [JSON.parse(text) as WebhookEvent | WebhookEvent[]].flat()
  } catch {
    throw new WebhookVerificationError('unreadable', 'The webhook is signed, and is no JSON.')
  }
}
