/** `valija tenant …`: the operator's work on tenants. */
import type { Tenant, TenantChange } from '@valija/client'
import { type ApiFlags, findTenant, openApiAsOperator, operatorFlags } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { readPairs, readYesNo } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'

const flags = { ...operatorFlags, ...jsonFlag }
const limitFlag = {
  limit: { type: 'string', multiple: true, value: '<name=number>', help: 'what it may do at most' },
} as const

export const tenantCommands: readonly Command[] = [
  command({
    name: 'tenant create',
    summary: 'makes a tenant and prints its first API key, once',
    details:
      'Without --url where DATABASE_URL and VALIJA_SECRET_KEY are set: at the database, before there is any API.',
    flags: { name: { type: 'string', value: '<name>', help: 'unique in this installation' }, ...flags },
    example: 'tenant create --name acme',
    run: async ({ flags }) => (await import('../create-tenant.ts')).createTenant(flags),
  }),
  command({
    name: 'tenant list',
    summary: 'all tenants, oldest first',
    flags: { ...operatorFlags, ...listFlags },
    example: 'tenant list --all',
    run: async ({ flags }) => {
      const api = await openApiAsOperator(flags)
      await printList(api.list('GET /tenants', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        weight: ({ weight }) => weight,
        created: ({ created_at }) => created_at,
      })
    },
  }),
  command({
    name: 'tenant show',
    args: '<tenant>',
    summary: 'a tenant and its limits, by id or name',
    flags,
    example: 'tenant show acme',
    run: async ({ args, flags }) => {
      const { api, path } = await openTenant(flags, args)
      showTenant(await api.request('GET /tenants/{id}', { path }), flags)
    },
  }),
  command({
    name: 'tenant update',
    args: '<tenant>',
    summary: 'changes its name, share, limits',
    details: 'The limits that are given replace all that it had; "none" takes all of them away.',
    flags: {
      name: { type: 'string', value: '<name>', help: 'another name' },
      weight: { type: 'string', value: '<number>', help: 'its share of the sending' },
      ...limitFlag,
      'at-most-once': { type: 'string', value: '<yes|no>', help: 'rather lose a mail than send it twice' },
      ...flags,
    },
    example: 'tenant update acme --weight 3 --limit queued=100000',
    run: async ({ args, flags }) => {
      const change = changeOf(flags)
      const { api, path } = await openTenant(flags, args)
      showTenant(await api.request('PATCH /tenants/{id}', { path, body: change }), flags)
    },
  }),
  command({
    name: 'tenant delete',
    args: '<tenant>',
    summary: 'removes a tenant with all that it has: mail, events, keys, domains',
    flags: { yes: { type: 'boolean', help: 'it is meant' }, ...operatorFlags },
    example: 'tenant delete acme --yes',
    run: async ({ args, flags }) => {
      if (!flags.yes) throw new UsageError('This cannot be undone: say --yes if it is meant.')
      const { api, path } = await openTenant(flags, args)
      await api.request('DELETE /tenants/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
]

async function openTenant(flags: ApiFlags, [tenant = '']: readonly string[]) {
  const api = await openApiAsOperator(flags)
  return { api, path: { id: await findTenant(api, tenant) } }
}

function changeOf(flags: {
  name: string | undefined
  weight: string | undefined
  limit: string[]
  'at-most-once': string | undefined
}): TenantChange {
  const atMostOnce = readYesNo('at-most-once', flags['at-most-once'])
  const change = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.weight !== undefined && { weight: Number(flags.weight) }),
    ...(flags.limit.length > 0 && { limits: limitsOf(flags.limit) }),
    ...(atMostOnce !== undefined && { at_most_once: atMostOnce }),
  }
  if (Object.keys(change).length === 0)
    throw new UsageError('Say what to change: --name, --weight, --limit, --at-most-once.')
  return change
}

function limitsOf(given: readonly string[]): Record<string, number> {
  if (given.length === 1 && given[0] === 'none') return {}
  return Object.fromEntries(
    Object.entries(readPairs('limit', given)).map(([name, value]) => [name, Number(value)]),
  )
}

function showTenant(tenant: Tenant, { json }: { json: boolean }): void {
  if (json) return void printJson(tenant)
  const { id, name, weight, limits, at_most_once, is_default, created_at } = tenant
  printFields([
    ['id', id],
    ['name', name],
    ['weight', weight],
    ['limits', JSON.stringify(limits)],
    ['at most once', at_most_once],
    ['default', is_default],
    ['created', created_at],
  ])
}
