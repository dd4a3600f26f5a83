/**
 * `valija tenant create --name <name>`: makes a tenant at the database and prints its id and first API key, once. The way to
 * the first key of an installation, before there is any to call the API with.
 */
import { parseArgs } from 'node:util'
import { addTenant, openFoundation } from '@valija/flows'
import { environment, loadConfig } from '@valija/runtime'

export async function tenant(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { name: { type: 'string' }, json: { type: 'boolean', default: false } },
  })
  const name = values.name?.trim()
  if (positionals[0] !== 'create' || positionals.length !== 1 || !name) {
    throw new Error('use: tenant create --name <name> [--json]')
  }
  const config = loadConfig(environment(), 'cli')
  if (config.databaseUrl === null || config.secretKeys.length === 0) {
    throw new Error('tenant create needs DATABASE_URL and VALIJA_SECRET_KEY.')
  }
  const foundation = await openFoundation({
    databaseUrl: config.databaseUrl,
    redisUrl: null,
    secretKeys: config.secretKeys,
    onError: (error) => process.stderr.write(`valija: ${error.message}\n`),
  })
  try {
    const made = await addTenant(foundation, { name })
    const text = values.json
      ? JSON.stringify(made)
      : `tenant  ${made.id}  ${made.name}\nkey     ${made.key}  (shown once)`
    process.stdout.write(`${text}\n`)
  } finally {
    await foundation.close()
  }
}
