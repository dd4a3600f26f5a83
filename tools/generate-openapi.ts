/**
 * Writes openapi.yaml from the routes of the API; with `--check` it fails when the file is stale. The routes' own
 * schemas, by which requests are validated, are the only source.
 */
import { openApiYaml } from '@valija/api'
import { settleGenerated } from './step.ts'

if (import.meta.main) settleGenerated('openapi.yaml', await openApiYaml(), 'node tools/generate-openapi.ts')
