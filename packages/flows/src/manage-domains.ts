/**
 * Managing sender domains: what a tenant claims, and what the operator vouches for without DNS.
 */
import { randomBytes } from 'node:crypto'
import { type Caller, formatId, type IdSource, invalidRequest, ProductError, parseId } from '@valija/core'
import { parseDomain } from '@valija/mail'
import {
  type Database,
  deleteDomain,
  findDomain,
  insertPendingDomain,
  insertVouchedDomain,
  listDomains,
  type StoredDomain,
  updateVouching,
  type Wake,
} from '@valija/store'
import { getDomain } from 'tldts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { isPublicSuffix } from './sender-domains.ts'

export interface DomainDesk {
  database: Database
  wake: Wake
  nextId: IdSource
}

/** What only the operator may say about a domain. */
export interface VouchingInput {
  vouched?: boolean
  dkim?: boolean
}

export interface DomainInput extends VouchingInput {
  name: string
}

/** A DNS record to publish, and what was found of it. */
export interface DomainRecord {
  purpose: string
  type: string
  /** The full name. */
  name: string
  /** The name below the registered domain, as DNS providers' forms ask for it. */
  host: string
  value: string
  priority: number | null
  required: boolean
  status: 'ok' | 'missing' | 'wrong' | 'unchecked'
  found: string[]
  fix: string
}

export interface DomainView {
  id: string
  name: string
  status: 'pending' | 'verified' | 'failed'
  vouched: boolean
  dkim: boolean
  records: DomainRecord[]
  created_at: string
}

export function showDomains(
  desk: DomainDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<DomainView>> {
  return readPage('domain', request, (page) => listDomains(desk.database, caller.tenantId, page), toView)
}

/** @throws {ProductError} not_found */
export async function showDomain(desk: DomainDesk, caller: Caller, id: string): Promise<DomainView> {
  const uuid = parseId('domain', id)
  const domain = uuid && (await findDomain(desk.database, caller.tenantId, uuid))
  if (!domain) throw new ProductError('not_found')
  return toView(domain)
}

/**
 * Adds a domain: pending, or verified at once when the operator vouches for it.
 *
 * @throws {ProductError} invalid_request, insufficient_scope, conflict
 */
export async function addDomain(desk: DomainDesk, caller: Caller, input: DomainInput): Promise<DomainView> {
  requireRightToVouch(caller, input)
  const name = readName(input.name)
  const row = {
    id: desk.nextId(),
    tenantId: caller.tenantId,
    name,
    signsDkim: readDkim(input.vouched ?? false, input.dkim ?? false),
    token: randomBytes(16).toString('hex'),
  }
  const added = input.vouched
    ? await insertVouchedDomain(desk.database, { ...row, status: 'verified', isVouched: true })
    : await insertPendingDomain(desk.database, { ...row, status: 'pending', isVouched: false })
  if (added === 'doubled')
    throw new ProductError('conflict', {
      detail: `The tenant has ${name} already: see GET /domains, and change it by PATCH /domains/:id.`,
    })
  if (added === 'verified_elsewhere') throw verifiedElsewhere()
  desk.wake.send('keys', caller.tenantId)
  return toView(added)
}

/**
 * Changes what the operator says about a domain. One that is vouched for no more waits for its records again.
 *
 * @throws {ProductError} not_found, invalid_request, insufficient_scope, conflict
 */
export async function changeDomain(
  desk: DomainDesk,
  caller: Caller,
  id: string,
  input: VouchingInput,
): Promise<DomainView> {
  requireRightToVouch(caller, input)
  const uuid = parseId('domain', id)
  const changed =
    uuid &&
    (await updateVouching(desk.database, caller.tenantId, uuid, (present) => {
      const isVouched = input.vouched ?? present.isVouched
      const signsDkim = readDkim(isVouched, input.dkim ?? (isVouched && present.signsDkim))
      if (isVouched) return { status: 'verified', isVouched, signsDkim }
      return { status: present.isVouched ? 'pending' : present.status, isVouched, signsDkim }
    }))
  if (!changed) throw new ProductError('not_found')
  if (changed === 'verified_elsewhere') throw verifiedElsewhere()
  desk.wake.send('keys', caller.tenantId)
  return toView(changed)
}

/** @throws {ProductError} not_found */
export async function removeDomain(desk: DomainDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('domain', id)
  if (uuid === null || !(await deleteDomain(desk.database, caller.tenantId, uuid))) {
    throw new ProductError('not_found')
  }
  desk.wake.send('keys', caller.tenantId)
}

function requireRightToVouch(caller: Caller, input: VouchingInput): void {
  if (caller.isOperator || (input.vouched === undefined && input.dkim === undefined)) return
  throw new ProductError('insufficient_scope', {
    detail: 'Only the operator’s key (VALIJA_ADMIN_KEY) may set vouched and dkim.',
  })
}

/** Without DNS nobody can tell whether the selectors are there, so unverified domains are not signed for on demand. */
function readDkim(isVouched: boolean, dkim: boolean): boolean {
  if (dkim && !isVouched)
    throw invalidRequest([{ path: '/dkim', message: 'can be true only with "vouched": true' }])
  return dkim
}

function readName(input: string): string {
  const name = parseDomain(input)
  if (!name.ok) throw invalidRequest([{ path: '/name', message: name.message }])
  if (isPublicSuffix(name.value)) {
    const message = `${name.value} is a public suffix, below which names belong to many. Give the domain that is yours.`
    throw invalidRequest([{ path: '/name', message }])
  }
  return name.value
}

/** Only the operator comes here, so nothing is told to a tenant about another. */
function verifiedElsewhere(): ProductError {
  return new ProductError('conflict', {
    detail: 'Another tenant has this domain verified; remove it there first.',
  })
}

function toView(domain: StoredDomain): DomainView {
  return {
    id: formatId('domain', domain.id),
    name: domain.name,
    status: domain.status,
    vouched: domain.isVouched,
    dkim: domain.signsDkim,
    records: [ownershipRecord(domain)],
    created_at: domain.createdAt.toISOString(),
  }
}

/** The token is the tenant's own for this name: another tenant's record for the same name proves nothing. */
function ownershipRecord(domain: StoredDomain): DomainRecord {
  const name = `_valija.${domain.name}`
  const registered = getDomain(domain.name, { allowPrivateDomains: true }) ?? domain.name
  const value = `valija-verification=${domain.token}`
  return {
    purpose: 'ownership',
    type: 'TXT',
    name,
    host: name.slice(0, -registered.length - 1),
    value,
    priority: null,
    required: !domain.isVouched,
    status: 'unchecked',
    found: [],
    fix: `Publish a TXT record at ${name} with the text ${value}.`,
  }
}
