/** A domain's records as a zone file, for DNS providers that import one and for name servers of one's own. */
import { type Caller, ProductError, parseId } from '@valija/core'
import { zoneFile } from '@valija/mail'
import { findDomain } from '@valija/store'
import { registeredDomain, wantedRecords } from './domain-records.ts'
import type { DomainDesk } from './manage-domains.ts'

/** Short, so that a mistake is soon mended. */
const ttlS = 3_600

/**
 * SPF is left out where there is one already: only one may be, and what stands in it has to be kept; so is DMARC, whose policy may be
 * stricter than what we would say. A retiring key's record is still to be there.
 *
 * @throws {ProductError} not_found
 */
export async function showZone(
  { database, domainHosts }: Pick<DomainDesk, 'database' | 'domainHosts'>,
  caller: Caller,
  id: string,
): Promise<string> {
  const uuid = parseId('domain', id)
  const domain = uuid && (await findDomain(database, caller.tenantId, uuid))
  if (!domain) throw new ProductError('not_found')
  const isTheirs = (purpose: string, name: string) =>
    (purpose === 'spf' || purpose === 'dmarc') &&
    domain.checks.some(
      (check) =>
        check.type === 'TXT' &&
        check.name === name &&
        check.faultCode !== 'missing' &&
        check.status !== 'unchecked',
    )
  const records = wantedRecords(domain, domainHosts).filter(({ purpose, name }) => !isTheirs(purpose, name))
  const comments = records.map(({ purpose, required, state, ...record }) => {
    const notes = [required ? 'required' : 'recommended', state].filter((note) => note && note !== 'active')
    return { ...record, comment: `${purpose} (${notes.join(', ')})` }
  })
  return zoneFile(registeredDomain(domain.name), ttlS, comments)
}
