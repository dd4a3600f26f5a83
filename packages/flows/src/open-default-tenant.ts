/**
 * The tenant named `default` and its key, which `npm start` makes once and shows at every start. Because that key has to be
 * shown again, it is the only one that is kept, sealed; every other key is kept as a hash.
 */
import { createApiKey, formatId, scopes, type Uuid } from '@valija/core'
import { findDefaultTenant, insertKey, readInstanceValue, writeInstanceValue } from '@valija/store'
import { addTenant } from './manage-tenants.ts'
import type { Foundation } from './open-foundation.ts'

const name = 'default_key'
/** What the kept key belongs to, for `Sealer`. */
export const defaultKeyOwner = 'instance:default_key'

export interface DefaultTenant {
  /** `ten_…` */
  id: string
  /** Its API key, with all scopes. */
  key: string
}

export async function openDefaultTenant(foundation: Foundation): Promise<DefaultTenant> {
  const { database, sealer } = foundation
  const kept = await readInstanceValue(database, name)
  const tenantId = await findDefaultTenant(database)
  if (kept !== null && tenantId !== null) {
    const key = sealer.open(Buffer.from(kept, 'base64'), defaultKeyOwner).toString()
    return { id: formatId('tenant', tenantId), key }
  }
  // A start that was killed between the two writes left a tenant whose key nobody knows: it gets another.
  const made =
    tenantId === null
      ? await addTenant(foundation, { name: 'default' }, true)
      : { id: formatId('tenant', tenantId), key: await addKey(foundation, tenantId) }
  await writeInstanceValue(
    database,
    name,
    sealer.seal(Buffer.from(made.key), defaultKeyOwner).toString('base64'),
  )
  return { id: made.id, key: made.key }
}

async function addKey({ database, nextId }: Foundation, tenantId: Uuid): Promise<string> {
  const { key, hash, hint } = createApiKey()
  await insertKey(database, {
    id: nextId(),
    tenantId,
    name: 'default key',
    hash,
    hint,
    scopes: [...scopes],
    domains: [],
    networks: [],
    route: null,
    recipients: [],
    limits: {},
    expiresAt: null,
  })
  return key
}
