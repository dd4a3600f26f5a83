/**
 * How commands ask the HTTP API: where it is, and with which key.
 *
 * `--url` and `--key` (or `--key-file`, since the arguments of a program are there for everybody on the machine to see) say so; without
 * them it is the `npm start` that runs in the data folder. What only the operator may do goes with the operator's key: that of the
 * same `npm start`, or VALIJA_ADMIN_KEY, which is for this installation and given to no other.
 */
import { readFile } from 'node:fs/promises'
import type { Valija } from '@valija/client'
import { UsageError } from './command.ts'
import { findByName } from './find-by-name.ts'

const placeFlags = {
  url: { type: 'string', value: '<url>', help: 'where the API is; the npm start that runs here' },
  key: { type: 'string', value: '<key>', help: 'the API key; that of the npm start that runs here' },
  'key-file': { type: 'string', value: '<file>', help: 'a file with the key, instead of --key' },
} as const

/** The flags of every command that a tenant's key is for. */
export const apiFlags = {
  ...placeFlags,
  tenant: {
    type: 'string',
    value: '<tenant>',
    help: 'with the operator’s key, for this tenant: its id or name',
  },
} as const

/** The flags of what only the operator may do. */
export const operatorFlags = {
  ...placeFlags,
  key: {
    type: 'string',
    value: '<key>',
    help: 'the operator’s key; that of the npm start that runs here, or VALIJA_ADMIN_KEY',
  },
} as const

export interface ApiFlags {
  url?: string | undefined
  key?: string | undefined
  'key-file'?: string | undefined
  tenant?: string | undefined
}

interface Place {
  url: string
  apiKey: string
}

/** @throws {Error} a sentence, when it is not said where the API is, and none runs here */
export async function openApi(flags: ApiFlags): Promise<Valija> {
  const { tenant } = flags
  if (tenant === undefined) return await clientOf(await findApi(flags, 'tenant'))
  const place = await findApi(flags, 'operator')
  return await clientOf({ ...place, tenant: await findTenant(await clientOf(place), tenant) })
}

/** With the operator's key, for no tenant. */
export async function openApiAsOperator(flags: ApiFlags): Promise<Valija> {
  return await clientOf(await findApi(flags, 'operator'))
}

/** @param tenant its id or its name @throws {Error} a sentence, when there is none of the name */
export function findTenant(operator: Valija, tenant: string): Promise<string> {
  const all = () => operator.list('GET /tenants', { query: { limit: 100 } })
  return findByName('tenant', tenant, all, ({ name }) => name)
}

/** Somebody waits at a terminal: trouble is told soon. */
async function clientOf(place: Place & { tenant?: string }): Promise<Valija> {
  const { Valija } = await import('@valija/client')
  return new Valija({ ...place, maxTries: 3 })
}

async function findApi(flags: ApiFlags, whose: 'tenant' | 'operator'): Promise<Place> {
  const { url } = flags
  if (url !== undefined && !URL.canParse(url)) throw new UsageError(`--url takes a URL, not "${url}".`)
  const given =
    flags['key-file'] === undefined ? flags.key : (await readFile(flags['key-file'], 'utf8')).trim()
  if (url !== undefined && given !== undefined) return { url, apiKey: given }
  const [{ environment, loadConfig }, { findRunning }] = await Promise.all([
    import('@valija/runtime'),
    import('./data-folder.ts'),
  ])
  const { dataDir, adminKey, publicUrl } = loadConfig(environment(), 'cli')
  const running = await findRunning(dataDir)
  const isAt = (other: string) => url === undefined || new URL(url).origin === new URL(other).origin
  const isHere = running !== null && isAt(running.url)
  // The keys of one installation are nothing for another one to see.
  const own = isHere ? (whose === 'operator' ? running.adminKey : running.apiKey) : undefined
  const operators = whose === 'operator' && (isHere || isAt(publicUrl)) ? adminKey : null
  const apiKey = given ?? own ?? operators
  const place = url ?? running?.url
  if (place !== undefined && apiKey !== null) return { url: place, apiKey }
  if (place === undefined)
    throw new Error(
      `No "npm start" runs in ${dataDir}: say where the API is by --url, and with which key by --key or --key-file.`,
    )
  const remedy = isAt(publicUrl)
    ? ', or set VALIJA_ADMIN_KEY to the operator’s'
    : `: VALIJA_ADMIN_KEY is given only to VALIJA_PUBLIC_URL, ${publicUrl}, and to the npm start that runs here`
  throw new Error(`Say with which key by --key or --key-file${whose === 'operator' ? remedy : ''}.`)
}
