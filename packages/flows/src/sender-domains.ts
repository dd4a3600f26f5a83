/**
 * From which domains a caller may send (DESIGN 4.23): the tenant's verified ones and what lies below them.
 *
 * A verified acme.com covers mail.acme.com, unless another tenant has verified mail.acme.com or something between the
 * two: the nearest verified name above an address decides, and has to be the tenant's own. No name covers anything across a
 * public suffix (https://publicsuffix.org, its private part included): whoever holds github.io does not hold your page.
 */
import { type Caller, ProductError, type Uuid } from '@valija/core'
import { asProductError, type Database, findVerifiedDomains, type Wake } from '@valija/store'
import { getPublicSuffix } from 'tldts'
import { createBriefMemory } from './brief-memory.ts'

export interface SenderDomainParts {
  database: Database
  wake: Wake
  delivery: 'capture' | 'smarthost' | 'mx'
  /** Whether this is `npm start`, whose default tenant may use any domain while nothing leaves the machine. */
  isAllInOne: boolean
}

export interface SenderDomains {
  /**
   * @param domain lower-case A-labels, as `parseAddress` gives them
   * @throws {ProductError} key_restricted, domain_not_verified, database_unavailable
   */
  check(caller: Caller, domain: string): Promise<void>
  /** Stops listening for changed domains. */
  close(): void
}

/** Verdicts remembered at once: a few MB at most. */
const rememberedVerdicts = 10_000

export function createSenderDomains(parts: SenderDomainParts): SenderDomains {
  const { database, wake } = parts
  const isOpenToDefault = parts.isAllInOne && parts.delivery === 'capture'
  const verdicts = createBriefMemory<true>(rememberedVerdicts, async (question) => {
    const [tenantId = '', domain = ''] = question.split(' ')
    return (await mayUse(database, tenantId, domain)) || null
  })
  const stopListening = wake.on('keys', (changed) => {
    // A key's hash (64 digits) changes no domain; a tenant's id may, for that tenant and for all whose names lie near.
    if (changed.length !== 64) verdicts.forget(() => true)
  })
  return {
    check: async (caller, domain) => {
      if (caller.domains.length > 0 && !caller.domains.includes(domain)) {
        const detail = `The key may not send from ${domain}, only from ${caller.domains.join(', ')}.`
        throw new ProductError('key_restricted', { detail })
      }
      if (isOpenToDefault && caller.isDefaultTenant) return
      const verdict = await verdicts.get(`${caller.tenantId} ${domain}`).catch((error: unknown) => {
        throw asProductError(error)
      })
      if (verdict !== null) return
      throw new ProductError('domain_not_verified', {
        detail: `${domain} is not a verified domain of this tenant, nor below one.`,
      })
    },
    close: stopListening,
  }
}

/** Whether a domain is a public suffix, below which names belong to many: nobody's sender domain. */
export function isPublicSuffix(domain: string): boolean {
  return getPublicSuffix(domain, { allowPrivateDomains: true }) === domain
}

async function mayUse(database: Database, tenantId: Uuid, domain: string): Promise<boolean> {
  const names = namesThatCover(domain)
  const verified = await findVerifiedDomains(database.engine, names)
  const nearest = names.find((name) => verified.some((row) => row.name === name))
  return verified.some((row) => row.name === nearest && row.tenantId === tenantId)
}

/** `a.b.example.com` → itself, `b.example.com`, `example.com`: from the nearest to the last below the public suffix. */
export function namesThatCover(domain: string): string[] {
  const suffix = getPublicSuffix(domain, { allowPrivateDomains: true })
  const labels = domain.split('.')
  const suffixLabels = suffix === null ? 1 : suffix.split('.').length
  return labels.slice(0, labels.length - suffixLabels).map((_, i) => labels.slice(i).join('.'))
}
