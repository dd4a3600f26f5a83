/**
 * Managing sender domains: what a tenant claims, and what the operator vouches for without DNS.
 */
import { randomBytes } from 'node:crypto'
import {
  type Caller,
  conflict,
  domainGraceMs,
  formatId,
  type IdSource,
  invalidRequest,
  ProductError,
  parseId,
  type Sealer,
} from '@valija/core'
import { type DkimAlgorithm, dkimAlgorithms, parseDomain } from '@valija/mail'
import {
  type Database,
  deleteDomain,
  findDomain,
  insertPendingDomain,
  insertVouchedDomain,
  listDomains,
  maxDomains,
  type StoredDomain,
  updateDomain,
  type Wake,
} from '@valija/store'
import { ensureDkimKeys, makeDkimKeys } from './dkim-keys.ts'
import type { DomainHosts } from './domain-hosts.ts'
import { type DomainRecord, returnPathHost, showRecords } from './domain-records.ts'
import { noteLeftOut, summarizeDomain } from './domain-summary.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { isPublicSuffix } from './sender-domains.ts'

export interface DomainDesk {
  database: Database
  wake: Wake
  nextId: IdSource
  sealer: Sealer
  /** What of this installation records name. */
  domainHosts: DomainHosts
}

/** What can be said about a domain that is there already; `vouched` and `dkim` by the operator only. */
export interface DomainChange {
  vouched?: boolean
  dkim?: boolean
  /** How its mails are signed; both when it was never said. */
  dkim_algorithms?: DkimAlgorithm[]
  /** The name of its return path, below it or whole. */
  return_path_host?: string
}

export interface DomainInput extends DomainChange {
  name: string
}

export interface DomainView {
  id: string
  name: string
  status: 'pending' | 'verified' | 'failed'
  vouched: boolean
  dkim: boolean
  dkim_algorithms: DkimAlgorithm[]
  return_path_host: string
  verified_at: string | null
  /** Since when the proof of a verified domain has been missing. */
  failing_since: string | null
  /** When a failing domain stops sending unless its proof is back. */
  sending_stops_at: string | null
  /** How it stands and what is still to be done, in one sentence. */
  summary: string
  records: DomainRecord[]
  /** Which records are left out, and why. */
  notes: string[]
  created_at: string
}

export function showDomains(
  desk: DomainDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<DomainView>> {
  return readPage(
    'domain',
    request,
    (page) => listDomains(desk.database, caller.tenantId, page),
    (domain) => toView(desk, domain),
  )
}

/** @throws {ProductError} not_found */
export async function showDomain(desk: DomainDesk, caller: Caller, id: string): Promise<DomainView> {
  const uuid = parseId('domain', id)
  const domain = uuid && (await findDomain(desk.database, caller.tenantId, uuid))
  if (!domain) throw new ProductError('not_found')
  return toView(desk, domain)
}

/**
 * Adds a domain: pending, or verified at once when the operator vouches for it.
 *
 * @throws {ProductError} invalid_request, insufficient_scope, conflict
 */
export async function addDomain(desk: DomainDesk, caller: Caller, input: DomainInput): Promise<DomainView> {
  requireRightToVouch(caller, input)
  const name = readName(input.name)
  const identity = { id: desk.nextId(), tenantId: caller.tenantId }
  const algorithms = orderAlgorithms(input.dkim_algorithms ?? dkimAlgorithms)
  const returnPathLabel = readReturnPathLabel(name, input.return_path_host)
  const row = {
    ...identity,
    name,
    signsDkim: readDkim(input.vouched ?? false, input.dkim ?? false),
    dkimAlgorithms: algorithms,
    dkimKeys: await makeDkimKeys(desk.sealer, identity, algorithms),
    token: randomBytes(16).toString('hex'),
    ...(returnPathLabel !== null && { returnPathLabel }),
  }
  const added = input.vouched
    ? await insertVouchedDomain(desk.database, { ...row, status: 'verified', isVouched: true })
    : await insertPendingDomain(desk.database, { ...row, status: 'pending', isVouched: false })
  if (added === 'doubled')
    throw conflict('exists', {
      detail: `The tenant has ${name} already: see GET /domains, and change it by PATCH /domains/:id.`,
    })
  if (added === 'full')
    throw conflict('full', {
      detail: `There are ${maxDomains} domains already; delete those that nobody needs.`,
    })
  if (added === 'verified_elsewhere') throw verifiedElsewhere()
  desk.wake.send('keys', caller.tenantId)
  return toView(desk, added)
}

/**
 * Changes how a domain is signed and what the operator says about it. One that is vouched for no more waits for its records again.
 *
 * @throws {ProductError} not_found, invalid_request, insufficient_scope, conflict
 */
export async function changeDomain(
  desk: DomainDesk,
  caller: Caller,
  id: string,
  input: DomainChange,
): Promise<DomainView> {
  requireRightToVouch(caller, input)
  const uuid = parseId('domain', id)
  const changed =
    uuid &&
    (await updateDomain(desk.database, caller.tenantId, uuid, (present) => {
      const isVouched = input.vouched ?? present.isVouched
      const signsDkim = readDkim(isVouched, input.dkim ?? (isVouched && present.signsDkim))
      const algorithms = input.dkim_algorithms
        ? orderAlgorithms(input.dkim_algorithms)
        : present.dkimAlgorithms
      const status = isVouched ? 'verified' : present.isVouched ? 'pending' : present.status
      const returnPathLabel =
        readReturnPathLabel(present.name, input.return_path_host) ?? present.returnPathLabel
      // Whoever is vouched for, or waits for its records anew, does not fail.
      const failingSince = isVouched === present.isVouched ? present.failingSince : null
      return { status, isVouched, signsDkim, dkimAlgorithms: algorithms, returnPathLabel, failingSince }
    }))
  if (!changed) throw new ProductError('not_found')
  if (changed === 'verified_elsewhere') throw verifiedElsewhere()
  const complete = await ensureDkimKeys(desk, changed)
  if (complete === null) throw new ProductError('not_found')
  desk.wake.send('keys', caller.tenantId)
  return toView(desk, complete)
}

/** @throws {ProductError} not_found */
export async function removeDomain(desk: DomainDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('domain', id)
  if (uuid === null || !(await deleteDomain(desk.database, caller.tenantId, uuid))) {
    throw new ProductError('not_found')
  }
  desk.wake.send('keys', caller.tenantId)
}

function requireRightToVouch(caller: Caller, input: DomainChange): void {
  if (caller.isOperator || (input.vouched === undefined && input.dkim === undefined)) return
  throw new ProductError('insufficient_scope', {
    detail: 'Only the operator’s key (VALIJA_ADMIN_KEY) may set vouched and dkim.',
  })
}

/** RSA first, as records and signatures are; each once. */
function orderAlgorithms(algorithms: readonly DkimAlgorithm[]): DkimAlgorithm[] {
  return dkimAlgorithms.filter((algorithm) => algorithms.includes(algorithm))
}

/** Without DNS nobody can tell whether the selectors are there, so unverified domains are not signed for on demand. */
function readDkim(isVouched: boolean, dkim: boolean): boolean {
  if (dkim && !isVouched)
    throw invalidRequest([{ path: '/dkim', message: 'can be true only with "vouched": true' }])
  return dkim
}

/** Below it go names such as `vljabcdefr._domainkey.`, and all must not exceed 253 characters (RFC 1035 §2.3.4). */
const maxNameLength = 253 - 'vljabcdefr._domainkey.'.length

function readName(input: string): string {
  const name = parseDomain(input)
  if (!name.ok) throw invalidRequest([{ path: '/name', message: name.message }])
  if (isPublicSuffix(name.value)) {
    const message = `${name.value} is a public suffix, below which names belong to many. Give the domain that is yours.`
    throw invalidRequest([{ path: '/name', message }])
  }
  if (name.value.length > maxNameLength) {
    const message = `is too long: the names of its DNS records would have more than 253 characters; at most ${maxNameLength}`
    throw invalidRequest([{ path: '/name', message }])
  }
  return name.value
}

/** Only the operator comes here, so nothing is told to a tenant about another. */
function verifiedElsewhere(): ProductError {
  return conflict('elsewhere', {
    detail: 'Another tenant has this domain verified; remove it there first.',
  })
}

/** @returns the part below the domain; null when nothing is said */
function readReturnPathLabel(domain: string, input: string | undefined): string | null {
  if (input === undefined) return null
  const host = parseDomain(input.includes('.') ? input : `${input}.${domain}`)
  if (!host.ok) throw invalidRequest([{ path: '/return_path_host', message: host.message }])
  if (!host.value.endsWith(`.${domain}`)) {
    const message = `must be a name below the domain, such as bounce.${domain}`
    throw invalidRequest([{ path: '/return_path_host', message }])
  }
  return host.value.slice(0, -domain.length - 1)
}

function toView({ domainHosts }: Pick<DomainDesk, 'domainHosts'>, domain: StoredDomain): DomainView {
  const { status, failingSince } = domain
  const stopsAt = status === 'verified' && failingSince ? failingSince.getTime() + domainGraceMs : null
  const view = {
    id: formatId('domain', domain.id),
    name: domain.name,
    status: domain.status,
    vouched: domain.isVouched,
    dkim: domain.signsDkim,
    dkim_algorithms: domain.dkimAlgorithms,
    return_path_host: returnPathHost(domain),
    verified_at: domain.verifiedAt?.toISOString() ?? null,
    failing_since: domain.failingSince?.toISOString() ?? null,
    sending_stops_at: stopsAt === null ? null : new Date(stopsAt).toISOString(),
    records: showRecords(domain, domainHosts),
    created_at: domain.createdAt.toISOString(),
  }
  return { ...view, summary: summarizeDomain(view), notes: noteLeftOut(domainHosts) }
}
