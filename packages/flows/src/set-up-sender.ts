/**
 * The first tenant of an installation and its domain, as `valija init` makes them: what is there already is looked at, not made
 * again, so that a run which ended half way can be repeated.
 */
import { type Caller, formatId } from '@valija/core'
import { findDomainsNamed, findTenantNamed } from '@valija/store'
import { actAtDatabase } from './act-at-database.ts'
import { addDomain, type DomainView } from './manage-domains.ts'
import { addTenant, showTenant, type TenantDesk, type TenantView } from './manage-tenants.ts'
import { type VerifyDesk, verifyDomain } from './verify-domain.ts'

/**
 * @returns the tenant of that name, and its first key if it was made just now
 * @throws {ProductError} conflict when somebody else makes it at the same moment
 */
export async function ensureTenant(
  desk: TenantDesk,
  name: string,
): Promise<{ tenant: TenantView; key: string | null }> {
  const found = await findTenantNamed(desk.database, name)
  if (found !== null) return { tenant: await showTenant(desk, formatId('tenant', found)), key: null }
  const { key, ...tenant } = await actAtDatabase('createTenant', () => addTenant(desk, { name }))
  return { tenant, key }
}

/**
 * Adds the domain to the tenant, or looks for the records of the one that it has.
 *
 * @param name as `parseDomain` gives it
 * @returns the domain, and how it stood before; null: it was added just now
 * @throws {ProductError} as adding and verifying do
 */
export async function ensureDomain(
  desk: VerifyDesk,
  caller: Caller,
  name: string,
): Promise<{ domain: DomainView; before: DomainView['status'] | null }> {
  const [found] = await findDomainsNamed(desk.database, caller.tenantId, [name])
  if (found === undefined) {
    const domain = await actAtDatabase('createDomain', () => addDomain(desk, caller, { name }))
    return { domain, before: null }
  }
  const domain = await verifyDomain(desk, caller, formatId('domain', found.id))
  return { domain, before: found.status }
}
