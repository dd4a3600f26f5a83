/**
 * The DNS records that a sender domain needs or should have, how each is judged by what was found, and what people are told of it.
 */
import {
  type DkimRecord,
  dkimRecordText,
  findDkimRecordFault,
  findDmarcFault,
  findSpfFault,
  type RecordFault,
  type RecordFaultCode,
  recordFault,
} from '@valija/mail'
import type { DkimKeyState, DomainCheck, StoredDkimKey, StoredDomain } from '@valija/store'
import { getDomain } from 'tldts'
import type { DomainHosts } from './domain-hosts.ts'

/** A record to publish. */
export interface WantedRecord {
  purpose: 'ownership' | 'dkim' | 'return_path' | 'spf' | 'dmarc' | 'tracking'
  type: 'TXT' | 'CNAME'
  /** The full name. */
  name: string
  value: string
  required: boolean
  /** How to publish it, as a sentence. */
  advice: string
  /** What else is to be known, as further sentences; may be empty. */
  note: string
  /** Of DKIM's records: where its key is in its life. */
  state: DkimKeyState | null
  /**
   * What is wrong with what was found at the name, by itself.
   *
   * @param found at least one record: the strings of each TXT record joined, or the target of the alias
   * @returns null when it is right
   */
  findFault(found: readonly string[]): RecordFault | null
}

/** A DNS record to publish, and what was found of it. */
export interface DomainRecord {
  purpose: WantedRecord['purpose']
  type: WantedRecord['type']
  /** The full name. */
  name: string
  /** The name below the registered domain, as DNS providers' forms ask for it. */
  host: string
  value: string
  priority: number | null
  required: boolean
  state: DkimKeyState | null
  status: DomainCheck['status']
  found: string[]
  fault: RecordFaultCode | null
  fix: string
  checked_at: string | null
  resolver: string | null
}

/** Ownership first, then the selectors, then what makes receivers like the mail. */
export function wantedRecords(domain: StoredDomain, hosts: DomainHosts): WantedRecord[] {
  const keys = domain.dkimKeys.filter((key) => domain.dkimAlgorithms.includes(key.algorithm))
  const { bounceDomain, relayHost, trackingHost } = hosts
  const spfTerm = bounceDomain === null ? relayHost && `a:${relayHost}` : `include:${bounceDomain}`
  return [
    ownershipRecord(domain),
    ...keys.map((key) => dkimRecord(domain, key)),
    ...(bounceDomain === null ? [] : [returnPathRecord(domain, bounceDomain)]),
    ...(spfTerm === null ? [] : [spfRecord(domain, spfTerm, bounceDomain)]),
    dmarcRecord(domain, hosts.reportAddress),
    ...(trackingHost === null ? [] : [trackingRecord(domain, trackingHost)]),
  ]
}

export function showRecords(domain: StoredDomain, hosts: DomainHosts): DomainRecord[] {
  const registered = registeredDomain(domain.name)
  return wantedRecords(domain, hosts).map((record) => {
    const { purpose, type, name, value, required, state } = record
    const check = domain.checks.find((made) => made.type === type && made.name === name)
    return {
      purpose,
      type,
      name,
      host: name === registered ? '@' : name.slice(0, -registered.length - 1),
      value,
      priority: null,
      required,
      state,
      status: check?.status ?? 'unchecked',
      found: check?.found ?? [],
      fault: check === undefined || check.status === 'ok' ? null : check.faultCode,
      fix: describeFix(record, check),
      checked_at: check?.checkedAt.toISOString() ?? null,
      resolver: check?.resolver ?? null,
    }
  })
}

/** What the domain's owner registered, as far as the public suffix list knows: where DNS providers' forms begin. */
export function registeredDomain(name: string): string {
  return getDomain(name, { allowPrivateDomains: true }) ?? name
}

function describeFix(record: WantedRecord, check: DomainCheck | undefined): string {
  if (check?.status === 'ok') return check.fault ?? `Nothing to do: DNS has it.${record.note}`
  const advice = `${record.advice}${record.note}`
  return check?.fault ? `${check.fault} ${advice}` : advice
}

/** The token is the tenant's own for this name: another tenant's record for the same name proves nothing. */
function ownershipRecord(domain: StoredDomain): WantedRecord {
  const name = ownershipName(domain.name)
  const value = ownershipText(domain.token)
  return {
    purpose: 'ownership',
    type: 'TXT',
    name,
    value,
    required: !domain.isVouched,
    state: null,
    note: '',
    advice: `Publish a TXT record at ${name} with the text ${value}.`,
    findFault: (found) => {
      if (provesOwnership(found, domain.token)) return null
      return found.some((text) => text.includes('valija-verification='))
        ? recordFault('wrong_token', 'The record there holds another token.')
        : recordFault('malformed', 'None of the TXT records there is the one shown.')
    },
  }
}

export function ownershipName(domain: string): string {
  return `_valija.${domain}`
}

function ownershipText(token: string): string {
  return `valija-verification=${token}`
}

/** @param found all TXT records at the name of the proof: several tenants may have theirs there */
export function provesOwnership(found: readonly string[], token: string): boolean {
  return found.some((text) => text.trim() === ownershipText(token))
}

const stateNotes: Record<DkimKeyState, (key: StoredDkimKey) => string> = {
  active: () => '',
  next: () => ' Mail is signed by its key once it is seen.',
  retiring: ({ retiresAt }) =>
    ` Its key signs no more. Leave it until ${retiresAt?.toISOString() ?? 'it is no longer shown'}, for mail that is still under way; then remove it.`,
}

/** Without it mails leave unsigned, which many receivers refuse; a domain vouched for is signed only if the operator says so. */
function dkimRecord(domain: StoredDomain, key: StoredDkimKey & DkimRecord): WantedRecord {
  const name = `${key.selector}._domainkey.${domain.name}`
  const isSigned = !domain.isVouched || domain.signsDkim
  return {
    purpose: 'dkim',
    type: 'TXT',
    name,
    value: dkimRecordText(key),
    required: isSigned && key.state === 'active',
    state: key.state,
    advice: `Publish a TXT record at ${name} with the value shown; one of more than 255 characters as several strings of one record.`,
    note: stateNotes[key.state](key),
    findFault: (found) => findDkimRecordFault(found, key),
  }
}

/** With it the return path is of the domain's own, so that SPF is aligned, and our addresses can move (DESIGN 4.10). */
function returnPathRecord(domain: StoredDomain, bounceDomain: string): WantedRecord {
  const name = returnPathHost(domain)
  return {
    ...aliasRecord(domain, 'return_path', name, bounceDomain),
    advice: `Publish a CNAME record at ${name} that leads to ${bounceDomain}: bounces then come back to a name of your own, and SPF is aligned. No other record may stand at this name.`,
  }
}

export function returnPathHost({ name, returnPathLabel }: Pick<StoredDomain, 'name' | 'returnPathLabel'>) {
  return `${returnPathLabel}.${name}`
}

function trackingRecord(domain: StoredDomain, trackingHost: string): WantedRecord {
  const name = `track.${domain.name}`
  return {
    ...aliasRecord(domain, 'tracking', name, trackingHost),
    advice: `Publish a CNAME record at ${name} that leads to ${trackingHost}.`,
  }
}

function aliasRecord(
  domain: StoredDomain,
  purpose: 'return_path' | 'tracking',
  name: string,
  target: string,
): Omit<WantedRecord, 'advice'> {
  return {
    purpose,
    type: 'CNAME',
    name,
    value: target,
    required: false,
    state: null,
    note: '',
    findFault: (found) => {
      const [first = ''] = found
      if (first === target) return null
      const appended = first.startsWith(`${target}.`) ? first.slice(target.length + 1) : null
      return appended !== null && isOneAboveTheOther(appended, domain.name)
        ? recordFault(
            'doubled_target',
            `It leads to ${first}: the final dot of the target was left out, and the domain was appended.`,
          )
        : recordFault('wrong_target', `It leads to ${first}.`)
    },
  }
}

function isOneAboveTheOther(one: string, other: string): boolean {
  return one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`)
}

/**
 * Where the return path is the From address, SPF is judged by this record. Where it is a host of ours, only receivers that look at it
 * nevertheless do; then it only has to be in order.
 */
function spfRecord(domain: StoredDomain, term: string, bounceDomain: string | null): WantedRecord {
  const { name } = domain
  const value = `v=spf1 ${term} ~all`
  const why =
    bounceDomain === null
      ? `If there is an SPF record already, add "${term}" to it instead (or what your relay’s operator says).`
      : `Receivers judge by the SPF record of the return path, so this one is a help to a few only. If there is one already, add "${term}" to it instead.`
  return {
    purpose: 'spf',
    type: 'TXT',
    name,
    value,
    required: false,
    state: null,
    note: '',
    advice: `Publish a TXT record at ${name} with the text "${value}". ${why}`,
    findFault: findSpfFault,
  }
}

/** p=none changes nothing for anybody's mail and lets reports come; a stricter one is the owner's choice. */
function dmarcRecord(domain: StoredDomain, reportAddress: DomainHosts['reportAddress']): WantedRecord {
  const name = `_dmarc.${domain.name}`
  const reports = reportAddress === null ? '' : `; rua=mailto:${reportAddress(domain.id)}`
  const value = `v=DMARC1; p=none${reports}`
  return {
    purpose: 'dmarc',
    type: 'TXT',
    name,
    value,
    required: false,
    state: null,
    note: '',
    advice: `Publish a TXT record at ${name}, for a start with the text "${value}"; large receivers want one, and a stricter policy is as good.`,
    findFault: findDmarcFault,
  }
}
