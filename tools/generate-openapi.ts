/**
 * Writes openapi.yaml from the routes of the API, and the client's types from it; with `--check` it fails when one of them is stale. The
 * routes' own schemas, by which requests are validated, are the only source.
 */
import { openApiYaml } from '@valija/api'
import { clientTypes } from './client-types.ts'
import { settleGenerated } from './step.ts'

if (import.meta.main) {
  const openApi = await openApiYaml()
  const command = 'node tools/generate-openapi.ts'
  settleGenerated('openapi.yaml', openApi, command)
  settleGenerated('packages/client/src/generated/api.ts', clientTypes(openApi), command)
}
