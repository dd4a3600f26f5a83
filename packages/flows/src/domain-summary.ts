/** What the records of a sender domain come to, for who does not want to go through them. */
import type { DomainHosts } from './domain-hosts.ts'
import type { DomainRecord } from './domain-records.ts'
import type { DomainView } from './manage-domains.ts'

/** @returns one sentence: how the domain stands, and what is still to be published or mended */
export function summarizeDomain(domain: Omit<DomainView, 'summary' | 'notes'>): string {
  const open = domain.records.filter(({ status }) => status === 'missing' || status === 'wrong')
  const unchecked = domain.records.filter(({ status }) => status === 'unchecked')
  const standing = describeStanding(domain)
  if (unchecked.length === domain.records.length) {
    return `${standing}; its records have not been looked for yet: publish them, then POST /domains/${domain.id}/verify.`
  }
  const parts = [
    ...(open.length === 0 ? [] : [`still to be published or mended: ${namesOf(open)}`]),
    ...(unchecked.length === 0 ? [] : [`not seen yet: ${namesOf(unchecked)}`]),
  ]
  return parts.length === 0 ? `${standing}; all its records are right.` : `${standing}; ${parts.join('; ')}.`
}

/** @returns sentences: which records there are not, because of how this installation is set up */
export function noteLeftOut({ bounceDomain, relayHost }: DomainHosts): string[] {
  if (bounceDomain !== null) return []
  const records = relayHost === null ? 'no return_path and no spf record' : 'no return_path record'
  return [
    `There is ${records} to publish, and the dmarc record asks for no reports, because this installation has no VALIJA_BOUNCE_DOMAIN; whoever runs it can set that.`,
  ]
}

function describeStanding(
  domain: Pick<DomainView, 'status' | 'vouched' | 'dkim' | 'sending_stops_at' | 'records'>,
) {
  const { status, vouched, dkim, sending_stops_at, records } = domain
  if (vouched) return dkim ? 'The operator vouches for it' : 'The operator vouches for it, unsigned'
  if (status === 'pending') return 'It is not verified yet'
  if (status === 'failed') return 'It is no longer verified, because its ownership record is gone'
  if (sending_stops_at !== null) {
    return `It is verified until ${sending_stops_at} only, unless its ownership record comes back`
  }
  const isSigned = records.some(
    ({ purpose, state, status: seen }) => purpose === 'dkim' && state !== 'next' && seen === 'ok',
  )
  return isSigned ? 'It is verified, and its mail is signed' : 'It is verified, but its mail is not signed'
}

/** DKIM's with their selectors: there are several. */
function namesOf(records: readonly DomainRecord[]): string {
  return records
    .map(({ purpose, name }) => (purpose === 'dkim' ? `dkim ${name.slice(0, name.indexOf('.'))}` : purpose))
    .join(', ')
}
