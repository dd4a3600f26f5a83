/**
 * Whose DKIM signature a mail gets, if any (DESIGN 4.21): that of the tenant's verified domain that covers the From address, by
 * the keys whose selectors DNS was last seen to have. A domain that the operator vouches for is signed for always or never.
 *
 * A mail that is to be signed never leaves unsigned for some trouble of ours: whoever cannot open the key throws.
 */
import type { KeyObject } from 'node:crypto'
import type { Sealer, Uuid } from '@valija/core'
import { type DkimAlgorithm, type DkimKey, dkimAlgorithms, signMail } from '@valija/mail'
import {
  type Database,
  findDomain,
  findSigningDomains,
  type SigningDomain,
  type SigningKey,
  type Wake,
} from '@valija/store'
import { createBriefMemory } from './brief-memory.ts'
import { ensureDkimKeys, openDkimKey } from './dkim-keys.ts'
import { namesThatCover } from './sender-domains.ts'

/** What signing needs to know of a message. */
export interface Signing {
  tenantId: Uuid
  fromDomain: string
  /** In the past: verifiers refuse what was signed in the future. */
  signedAt: Date
  /** Date and Message-ID stay unsigned: the route's relay rewrites them. */
  rewritesIds: boolean
}

/** Every attempt signs by when the mail was to be sent first, so every attempt has the same octets. */
export function signingOf(
  message: { tenantId: Uuid; fromDomain: string; sendAt: Date | null; createdAt: Date },
  rewritesIds: boolean,
): Signing {
  const { tenantId, fromDomain, sendAt, createdAt } = message
  return { tenantId, fromDomain, signedAt: sendAt ?? createdAt, rewritesIds }
}

/** The mail is to be signed, and cannot be now. The message is a sentence for people. */
export class SigningError extends Error {
  override name = 'SigningError'
}

export interface MailSigner {
  /**
   * @param mail RFC 5322 text, without signatures of ours
   * @returns the mail with its signatures in front; as it is when it is to have none
   * @throws {SigningError}; any other error is the database's and passes
   */
  sign(mail: Buffer, signing: Signing): Promise<Buffer>
  /** Stops listening for changed domains. */
  close(): void
}

export interface MailSignerParts {
  database: Database
  sealer: Sealer
  wake: Wake
}

/** Opened keys, a few KB each, of so many pairs of tenant and domain; a change that no wake-up told of is noticed this soon. */
const rememberedDomains = 1_000
const lifetimes = { positiveMs: 60_000, negativeMs: 60_000 }

export function createMailSigner(parts: MailSignerParts): MailSigner {
  const keysOf = createBriefMemory<DkimKey[]>(
    rememberedDomains,
    async (question) => {
      const [tenantId = '', domain = ''] = question.split(' ')
      return findKeys(parts, tenantId, domain)
    },
    lifetimes,
  )
  const stopListening = parts.wake.on('keys', (changed) => {
    // An API key's hash (64 digits) changes no domain.
    if (changed.length !== 64) keysOf.forget(() => true)
  })
  return {
    sign: async (mail, { tenantId, fromDomain, signedAt, rewritesIds }) => {
      const keys = (await keysOf.get(`${tenantId} ${fromDomain}`)) ?? []
      if (keys.length === 0) return mail
      const leaveOut = rewritesIds ? ['date', 'message-id'] : []
      const fields = await signMail(mail, keys, { signedAt, leaveOut }).catch((cause: unknown) => {
        throw new SigningError(`The mail could not be signed for ${keys[0]?.domain}.`, { cause })
      })
      return Buffer.concat([fields, mail])
    },
    close: stopListening,
  }
}

/** Opened keys of the domain that signs; none when none is to. */
async function findKeys(parts: MailSignerParts, tenantId: Uuid, fromDomain: string): Promise<DkimKey[]> {
  const domain = await findSigner(parts, tenantId, fromDomain)
  if (domain === null) return []
  const keys = dkimAlgorithms.flatMap((algorithm) => chooseKey(domain, algorithm) ?? [])
  return keys.map(({ selector, algorithm, privateKey }) => ({
    domain: domain.name,
    selector,
    algorithm,
    privateKey: open(parts, domain, { selector, privateKey }),
  }))
}

/** The active key; while its record is not there, the one before it, if that one's still is. */
function chooseKey(
  { isVouched, signsDkim, keys }: SigningDomain,
  algorithm: DkimAlgorithm,
): SigningKey | null {
  const own = keys.filter((key) => key.algorithm === algorithm)
  if (isVouched) return signsDkim ? (own.find(({ state }) => state === 'active') ?? null) : null
  const right = own.filter(({ isRight }) => isRight)
  return (
    right.find(({ state }) => state === 'active') ?? right.find(({ state }) => state === 'retiring') ?? null
  )
}

function open(
  { sealer }: MailSignerParts,
  domain: SigningDomain,
  key: { selector: string; privateKey: Buffer },
): KeyObject {
  try {
    return openDkimKey(sealer, domain, key)
  } catch (cause) {
    const which = `the DKIM key ${key.selector} of ${domain.name}`
    throw new SigningError(
      `The mail is to be signed, and ${which} cannot be opened with VALIJA_SECRET_KEY.`,
      {
        cause,
      },
    )
  }
}

/** The nearest verified domain decides, as it does at acceptance. One of an earlier version gets its keys now. */
async function findSigner(
  parts: MailSignerParts,
  tenantId: Uuid,
  fromDomain: string,
): Promise<SigningDomain | null> {
  const find = async () => {
    const names = namesThatCover(fromDomain)
    const domains = await findSigningDomains(parts.database.engine, names)
    const nearest = names.find((name) => domains.some((domain) => domain.name === name))
    return domains.find((domain) => domain.name === nearest && domain.tenantId === tenantId) ?? null
  }
  const found = await find()
  const lacksKeys = found?.dkimAlgorithms.some(
    (wanted) => !found.keys.some((key) => key.algorithm === wanted),
  )
  if (!found?.signsDkim || !lacksKeys) return found
  const stored = await findDomain(parts.database, tenantId, found.id)
  if (stored) await ensureDkimKeys(parts, stored)
  return find()
}
