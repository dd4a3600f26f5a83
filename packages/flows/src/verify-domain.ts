/**
 * Looking at a sender domain in the DNS: what was found of its records is kept and shown, and what follows from it happens
 * (packages/store/src/domain-checks.ts): verified, failing, failed, another key that signs.
 */
import { type Caller, conflict, domainGraceMs, ProductError, parseId, type Uuid } from '@valija/core'
import type { Resolver } from '@valija/courier'
import { findDomain, keepDomainLook, type LookOutcome, type NewCheck, type StoredDomain } from '@valija/store'
import { checkRecord } from './check-record.ts'
import { ensureDkimKeys } from './dkim-keys.ts'
import type { SendingHost } from './domain-hosts.ts'
import { provesOwnership, type WantedRecord, wantedRecords } from './domain-records.ts'
import type { Look } from './look-for-record.ts'
import { type DomainDesk, type DomainView, showDomain } from './manage-domains.ts'

export interface VerifyDesk extends DomainDesk {
  /** One that keeps no answers: who has just published a record wants it to be seen. */
  resolver: Resolver
  /** Who exchangers see. */
  sendingHosts: () => Promise<SendingHost[]>
}

/**
 * Looks for the domain's records now. Where DNS gives no answer, what was known of a record stays.
 *
 * @returns the domain with what was found
 * @throws {ProductError} not_found; conflict when its ownership is seen while another tenant holds it
 */
export async function verifyDomain(desk: VerifyDesk, caller: Caller, id: string): Promise<DomainView> {
  const uuid = parseId('domain', id)
  const outcome = uuid && (await lookAtDomain(desk, caller.tenantId, uuid))
  if (!outcome) throw new ProductError('not_found')
  if (outcome === 'elsewhere') throw usedElsewhere()
  return showDomain(desk, caller, id)
}

/** @returns null when the tenant has no such domain */
export async function lookAtDomain(desk: VerifyDesk, tenantId: Uuid, id: Uuid): Promise<LookOutcome | null> {
  const stored = await findDomain(desk.database, tenantId, id)
  const domain = stored && (await ensureDkimKeys(desk, stored))
  if (!domain) return null
  const context = { resolver: desk.resolver, domain: domain.name, senders: await desk.sendingHosts() }
  const looks = await Promise.all(
    wantedRecords(domain, desk.domainHosts).map(async (record) => {
      return { record, look: await checkRecord(context, record) }
    }),
  )
  const proof = looks.find(({ record }) => record.purpose === 'ownership')?.look
  const outcome = await keepDomainLook(desk.database, domain, {
    checks: looks.map(({ record, look }) => checkOf(record, look)),
    proof: proof === undefined ? 'unknown' : proofOf(proof),
    provesToken: (token) => provesOwnership(proof?.found ?? [], token),
    watched: looks
      .map(({ record }) => record)
      .filter(isWatched)
      .map(({ name }) => name),
  })
  if (outcome !== null) tellOthers(desk, domain, outcome)
  return outcome
}

function proofOf({ status }: Look): 'seen' | 'absent' | 'unknown' {
  if (status === 'unchecked') return 'unknown'
  return status === 'ok' ? 'seen' : 'absent'
}

/** Records that mail goes by: their loss is told. */
function isWatched({ purpose, state }: WantedRecord): boolean {
  return purpose === 'return_path' || (purpose === 'dkim' && state === 'active')
}

/** Another tenant may have been told too: that its proof is gone, or that the domain is another's now. */
function tellOthers(
  { wake }: Pick<VerifyDesk, 'wake'>,
  { tenantId }: StoredDomain,
  outcome: LookOutcome,
): void {
  wake.send('keys', tenantId)
  if (outcome !== 'kept') wake.send('webhooks')
}

function checkOf({ type, name }: WantedRecord, { status, found, fault, by }: Look): NewCheck {
  return {
    type,
    name,
    status,
    found,
    fault: fault?.text ?? null,
    faultCode: fault?.code ?? null,
    resolver: by,
  }
}

/** Told only to who has shown that the name is its own. */
function usedElsewhere(): ProductError {
  const hours = domainGraceMs / 3_600_000
  return conflict('elsewhere', {
    detail: `The record is right, but another tenant of this installation has this domain verified: it must be removed there first, by that tenant or by the operator; or that tenant’s record must have been gone from the DNS for ${hours} hours.`,
  })
}
