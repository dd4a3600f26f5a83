/**
 * The tenant named `default` and its key, which `npm start` makes once and shows at every start. Because that key has to be
 * shown again, it is the only one that is kept, sealed; every other key is kept as a hash.
 */
import { readInstanceValue, writeInstanceValue } from '@valija/store'
import { addTenant } from './manage-tenants.ts'
import type { Foundation } from './open-foundation.ts'

const name = 'default_key'
const owner = 'instance:default_key'

/** @returns the API key of the default tenant, with all scopes */
export async function openDefaultTenant(foundation: Foundation): Promise<string> {
  const { database, sealer } = foundation
  const kept = await readInstanceValue(database, name)
  if (kept !== null) return sealer.open(Buffer.from(kept, 'base64'), owner).toString()
  const { key } = await addTenant(foundation, { name: 'default' }, true)
  await writeInstanceValue(database, name, sealer.seal(Buffer.from(key), owner).toString('base64'))
  return key
}
