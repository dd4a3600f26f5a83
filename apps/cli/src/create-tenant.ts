/**
 * `valija tenant create`: makes a tenant and prints its id and first API key, once. At the database where that is configured, since this is
 * the way to the first key of an installation; else by the API.
 */
import type { Valija } from '@valija/client'
import { actAtDatabase, addTenant, openFoundation } from '@valija/flows'
import { type Config, environment, loadConfig } from '@valija/runtime'
import { type ApiFlags, openApiAsOperator } from './api-client.ts'
import { need } from './flag-values.ts'
import { print } from './output.ts'

export async function createTenant(
  flags: ApiFlags & { name: string | undefined; json: boolean },
): Promise<void> {
  const name = need('name', flags.name).trim()
  const config = loadConfig(environment(), 'cli')
  const isAtDatabase = flags.url === undefined && config.databaseUrl !== null && config.secretKeys.length > 0
  const made = isAtDatabase
    ? await addAtDatabase(config, name)
    : await addByApi(await openApiAsOperator(flags), name)
  print(
    flags.json
      ? `${JSON.stringify(made)}\n`
      : `tenant  ${made.id}  ${made.name}\nkey     ${made.key}  (shown once)\n`,
  )
}

async function addAtDatabase({ databaseUrl, secretKeys }: Config, name: string) {
  const foundation = await openFoundation({
    databaseUrl: databaseUrl ?? '',
    redisUrl: null,
    secretKeys,
    onError: (error) => process.stderr.write(`valija: ${error.message}\n`),
  })
  try {
    return await actAtDatabase('createTenant', () => addTenant(foundation, { name }))
  } finally {
    await foundation.close()
  }
}

async function addByApi(api: Valija, name: string) {
  return await api.request('POST /tenants', { body: { name } })
}
