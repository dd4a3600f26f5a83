/** What signing a mail reads: the verified domains above its From address, with their keys and what DNS was last seen to say. */
import type { Uuid } from '@valija/core'
import type { DkimAlgorithm } from '@valija/mail'
import type pg from 'pg'
import type { DkimKeyState, NewDkimKey, StoredDomain } from './domains.ts'

export interface SigningKey extends Pick<NewDkimKey, 'selector' | 'algorithm' | 'privateKey' | 'state'> {
  /** The selector was right in the DNS when it last answered. */
  isRight: boolean
}

export interface SigningDomain
  extends Pick<StoredDomain, 'id' | 'tenantId' | 'name' | 'isVouched' | 'signsDkim' | 'dkimAlgorithms'> {
  /** Of the wanted algorithms, RSA first. */
  keys: SigningKey[]
}

interface Row extends Omit<SigningDomain, 'keys'> {
  selector: string | null
  algorithm: DkimAlgorithm
  state: DkimKeyState
  privateKey: Buffer
  isRight: boolean
}

/**
 * The verified domains among these names, over all tenants.
 *
 * @param names a domain and those above it
 */
export async function findSigningDomains(
  engine: pg.Pool,
  names: readonly string[],
): Promise<SigningDomain[]> {
  const { rows } = await engine.query<Row>({
    name: 'find-signing-domains',
    text: `
SELECT d.id, d.tenant_id AS "tenantId", d.name, d.is_vouched AS "isVouched", d.signs_dkim AS "signsDkim",
  d.dkim_algorithms AS "dkimAlgorithms", k.selector, k.algorithm, k.state, k.private_key AS "privateKey", c.status IS NOT DISTINCT FROM 'ok' AS "isRight"
FROM valija.domains AS d
LEFT JOIN valija.dkim_keys AS k
  ON k.domain_id = d.id AND k.tenant_id = d.tenant_id AND k.algorithm = ANY (d.dkim_algorithms)
LEFT JOIN valija.domain_checks AS c
  ON c.domain_id = d.id AND c.tenant_id = d.tenant_id AND c.type = 'TXT' AND c.name = k.selector || '._domainkey.' || d.name
WHERE d.name = ANY ($1) AND d.status = 'verified'
ORDER BY k.algorithm DESC, k.created_at, k.selector`,
    values: [names],
  })
  const domains = new Map<Uuid, SigningDomain>()
  for (const { selector, algorithm, state, privateKey, isRight, ...domain } of rows) {
    const known = domains.get(domain.id) ?? { ...domain, keys: [] }
    domains.set(domain.id, known)
    if (selector !== null) known.keys.push({ selector, algorithm, state, privateKey, isRight })
  }
  return [...domains.values()]
}
