/** API keys. */
import type { RouteGroup } from '../../route.ts'
import { createKey } from './create-key.ts'
import { getKey } from './get-key.ts'
import { listKeys } from './list-keys.ts'
import { revokeKey } from './revoke-key.ts'
import { CreatedKey, Key, KeyChange, KeyInput } from './schemas.ts'
import { updateKey } from './update-key.ts'

export const keyRoutes: RouteGroup = {
  tag: { name: 'Keys', description: 'API keys: what they may do, and their end.' },
  schemas: [Key, CreatedKey, KeyInput, KeyChange],
  routes: [listKeys, createKey, getKey, updateKey, revokeKey],
}
