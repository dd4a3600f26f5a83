/**
 * Writes docs/configuration.md and .env.example from the configuration schema of @valija/runtime; with `--check` it fails
 * when one of them is stale.
 */
import { configurationPage, environmentExample } from '@valija/runtime'
import { settleGenerated } from './step.ts'

if (import.meta.main) {
  const command = 'node tools/generate-configuration.ts'
  settleGenerated('docs/configuration.md', configurationPage(), command)
  settleGenerated('.env.example', environmentExample(), command)
}
