/**
 * The tenant named `default` and its key, which `npm start` makes once and shows at every start. Because that key has to be
 * shown again, it is the only one that is kept, sealed; every other key is kept as a hash.
 */
import { createApiKey, scopes, type Uuid } from '@valija/core'
import { findDefaultTenant, insertKey, readInstanceValue, writeInstanceValue } from '@valija/store'
import { addTenant } from './manage-tenants.ts'
import type { Foundation } from './open-foundation.ts'

const name = 'default_key'
const owner = 'instance:default_key'

/** @returns the API key of the default tenant, with all scopes */
export async function openDefaultTenant(foundation: Foundation): Promise<string> {
  const { database, sealer } = foundation
  const kept = await readInstanceValue(database, name)
  if (kept !== null) return sealer.open(Buffer.from(kept, 'base64'), owner).toString()
  const tenantId = await findDefaultTenant(database)
  // A start that was killed between the two writes left a tenant whose key nobody knows: it gets another.
  const key =
    tenantId === null
      ? (await addTenant(foundation, { name: 'default' }, true)).key
      : await addKey(foundation, tenantId)
  await writeInstanceValue(database, name, sealer.seal(Buffer.from(key), owner).toString('base64'))
  return key
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
    expiresAt: null,
  })
  return key
}
