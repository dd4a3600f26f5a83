/**
 * DKIM keys of sender domains: made with the domain, or when they are first needed, and sealed for their tenant, domain and
 * selector, so that a row that was moved to another domain opens nothing.
 */
import { createPrivateKey, type KeyObject, randomInt } from 'node:crypto'
import type { Sealer, Uuid } from '@valija/core'
import { type DkimAlgorithm, generateDkimKey } from '@valija/mail'
import { addMissingDkimKeys, type Database, type NewDkimKey, type StoredDomain } from '@valija/store'

/** A key is found by its selector in the DNS, where case does not count; no letters or digits that look alike. */
const selectorAlphabet = 'abcdefghjkmnpqrstuvwxyz23456789'
const selectorLength = 6

/** Makes a key for each algorithm; RSA takes some 30 to 100 ms of another thread. */
export function makeDkimKeys(
  sealer: Sealer,
  { tenantId, id }: { tenantId: Uuid; id: Uuid },
  algorithms: readonly DkimAlgorithm[],
): Promise<NewDkimKey[]> {
  return Promise.all(
    algorithms.map(async (algorithm) => {
      const selector = makeSelector(algorithm)
      const pair = await generateDkimKey(algorithm)
      const privateKey = sealDkimKey(sealer, { tenantId, id }, selector, pair.privateKey)
      return {
        selector,
        algorithm,
        publicKey: pair.publicKey,
        privateKey,
        state: 'active' as const,
        isOwn: false,
      }
    }),
  )
}

/**
 * Makes the keys that a domain lacks for the algorithms that it is to be signed by.
 *
 * @returns the domain with its keys; null when it is gone
 */
export async function ensureDkimKeys(
  { database, sealer }: { database: Database; sealer: Sealer },
  domain: StoredDomain,
): Promise<StoredDomain | null> {
  const missing = domain.dkimAlgorithms.filter(
    (algorithm) => !domain.dkimKeys.some((key) => key.algorithm === algorithm),
  )
  if (missing.length === 0) return domain
  const keys = await makeDkimKeys(sealer, domain, missing)
  return addMissingDkimKeys(database, domain.tenantId, domain.id, keys)
}

export function sealDkimKey(
  sealer: Sealer,
  { tenantId, id }: { tenantId: Uuid; id: Uuid },
  selector: string,
  privateKey: KeyObject,
): Buffer {
  const plain = privateKey.export({ type: 'pkcs8', format: 'der' })
  return sealer.seal(plain, dkimKeyOwner(tenantId, id, selector))
}

/** @throws {SealError} for a key of another domain, or sealed with a secret key that is not configured any more */
export function openDkimKey(
  sealer: Sealer,
  { tenantId, id }: { tenantId: Uuid; id: Uuid },
  key: Pick<NewDkimKey, 'selector' | 'privateKey'>,
): KeyObject {
  const plain = sealer.open(key.privateKey, dkimKeyOwner(tenantId, id, key.selector))
  return createPrivateKey({ key: plain, format: 'der', type: 'pkcs8' })
}

export function makeSelector(algorithm: DkimAlgorithm): string {
  const letters = Array.from({ length: selectorLength }, () =>
    selectorAlphabet.charAt(randomInt(selectorAlphabet.length)),
  )
  return `vlj${letters.join('')}${algorithm === 'rsa' ? 'r' : 'e'}`
}

/** What a sealed private key belongs to, for `Sealer`. */
export function dkimKeyOwner(tenantId: Uuid, domainId: Uuid, selector: string): string {
  return `dkim:${tenantId}:${domainId}:${selector}`
}
