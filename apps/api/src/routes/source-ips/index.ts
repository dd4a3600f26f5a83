/** Source addresses: the operator's routes. */
import type { RouteGroup } from '../../route.ts'
import { createSource } from './create-source-ip.ts'
import { deleteSource } from './delete-source-ip.ts'
import { getSource } from './get-source-ip.ts'
import { listSources } from './list-source-ips.ts'
import { Source, SourceChange, SourceInput } from './schemas.ts'
import { updateSource } from './update-source-ip.ts'

export const sourceRoutes: RouteGroup = {
  tag: {
    name: 'Source addresses',
    description: 'Addresses that mail leaves from, their pools and warm-up; with the operator’s key only.',
  },
  schemas: [Source, SourceInput, SourceChange],
  routes: [listSources, createSource, getSource, updateSource, deleteSource],
}
