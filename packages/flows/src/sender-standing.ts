/** How a From address stands with the tenant's domains: by the rules of acceptance, and beyond them where it would be refused. */
import { formatId, type Uuid } from '@valija/core'
import { type Database, findDomainsNamed, findVerifiedDomains, type StoredDomain } from '@valija/store'
import { namesThatCover } from './sender-domains.ts'

export type SenderStanding =
  /** Neither it nor what is above it is a domain of the tenant. */
  | { kind: 'unknown' }
  /** `vouched`: by the operator, and so without a signature. */
  | { kind: 'unverified' | 'vouched' | 'verified'; id: string; name: string }

/** @param fromDomain lower-case A-labels */
export async function readSenderStanding(
  database: Database,
  tenantId: Uuid,
  fromDomain: string,
): Promise<SenderStanding> {
  const names = namesThatCover(fromDomain)
  const [verified, own] = await Promise.all([
    findVerifiedDomains(database.engine, names),
    findDomainsNamed(database, tenantId, names),
  ])
  const deciding = names.find((name) => verified.some((row) => row.name === name))
  const isOurs = verified.some((row) => row.name === deciding && row.tenantId === tenantId)
  const nearest = names.find((name) => own.some((row) => row.name === name))
  const domain = own.find(({ name }) => name === (isOurs ? deciding : nearest))
  if (domain === undefined) return { kind: 'unknown' }
  const { id, name } = domain
  return { kind: isOurs ? kindOf(domain) : 'unverified', id: formatId('domain', id), name }
}

function kindOf({ isVouched, signsDkim }: StoredDomain): 'vouched' | 'verified' {
  return isVouched && !signsDkim ? 'vouched' : 'verified'
}
