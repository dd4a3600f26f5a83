/** `valija tenant …`: the operator's work on tenants. */
import type { Tenant, TenantChange } from '@valija/client'
import { type ApiFlags, findTenant, openApiAsOperator, operatorFlags } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { readNumber, readPairs, readYesNo } from '../flag-values.ts'
import { counted } from '../in-commands.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'

const flags = { ...operatorFlags, ...jsonFlag }
type Limits = NonNullable<TenantChange['limits']>
type Alarms = NonNullable<Limits['alarms']>

/** Complete by its types. */
const limitNames: Readonly<Record<Exclude<keyof Limits, 'alarms'> | `alarms.${keyof Alarms}`, true>> = {
  queued: true,
  requests_per_second: true,
  requests_per_minute: true,
  recipients_per_minute: true,
  recipients_per_hour: true,
  recipients_per_day: true,
  recipients_per_month: true,
  recipients_per_hour_to_one_address: true,
  max_message_bytes: true,
  max_recipients: true,
  max_attachments: true,
  'alarms.bounce_rate': true,
  'alarms.complaint_rate': true,
  'alarms.deferral_rate': true,
  'alarms.pause_bulk': true,
  'alarms.pause_bounce_rate': true,
  'alarms.pause_complaint_rate': true,
  'alarms.minimum_volume': true,
}
const allLimits = Object.keys(limitNames)
/** Those that a key may have as well. */
export const usageLimitNames = allLimits.filter((name) => name !== 'queued' && !name.startsWith('alarms.'))

const limitFlag = {
  limit: {
    type: 'string',
    multiple: true,
    value: '<name=number>',
    help: `what it may do at most: ${allLimits.join(', ')} (yes or no for alarms.pause_bulk)`,
  },
} as const

const retentionFlags = {
  'retention-days': { type: 'string', value: '<days|none>', help: 'its mail is deleted after so many days' },
  'redact-after-days': { type: 'string', value: '<days|none>', help: 'and its content after so many' },
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
        status: ({ status }) => status,
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
    summary: 'changes its name, share, limits, retention',
    details: 'Limits that are not named stay as they are; none takes one away.',
    flags: {
      name: { type: 'string', value: '<name>', help: 'another name' },
      weight: { type: 'string', value: '<number>', help: 'its share of the sending' },
      ...limitFlag,
      'at-most-once': { type: 'string', value: '<yes|no>', help: 'rather lose a mail than send it twice' },
      'bulk-paused': { type: 'string', value: '<yes|no>', help: 'its bulk mail is held; no: it goes on' },
      ...retentionFlags,
      ...flags,
    },
    example: 'tenant update acme --weight 3 --limit queued=100000 --limit alarms.bounce_rate=0.1',
    run: async ({ args, flags }) => {
      const change = changeOf(flags)
      if (flags.limit.length > 0) change.limits = limitsOf(readPairs('limit', flags.limit))
      const { api, path } = await openTenant(flags, args)
      showTenant(await api.request('PATCH /tenants/{id}', { path, body: change }), flags)
    },
  }),
  standing(
    'tenant suspend',
    'suspended',
    'its sends are refused, and what waits is held, until it is resumed',
  ),
  standing('tenant resume', 'active', 'it sends again, and what was held goes on at once'),
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

function standing(name: string, status: 'active' | 'suspended', summary: string): Command {
  return command({
    name,
    args: '<tenant>',
    summary,
    flags,
    example: `${name} acme`,
    run: async ({ args, flags }) => {
      const { api, path } = await openTenant(flags, args)
      showTenant(await api.request('PATCH /tenants/{id}', { path, body: { status } }), flags)
    },
  })
}

async function openTenant(flags: ApiFlags, [tenant = '']: readonly string[]) {
  const api = await openApiAsOperator(flags)
  return { api, path: { id: await findTenant(api, tenant) } }
}

function changeOf(flags: {
  name: string | undefined
  weight: string | undefined
  limit: string[]
  'at-most-once': string | undefined
  'bulk-paused': string | undefined
  'retention-days': string | undefined
  'redact-after-days': string | undefined
}): TenantChange {
  const atMostOnce = readYesNo('at-most-once', flags['at-most-once'])
  const bulkPaused = readYesNo('bulk-paused', flags['bulk-paused'])
  const change = {
    ...(flags.name !== undefined && { name: flags.name }),
    ...(flags.weight !== undefined && { weight: Number(flags.weight) }),
    ...(atMostOnce !== undefined && { at_most_once: atMostOnce }),
    ...(bulkPaused !== undefined && { bulk_paused: bulkPaused }),
    ...daysOf('retention-days', 'retention_days', flags['retention-days']),
    ...daysOf('redact-after-days', 'redact_after_days', flags['redact-after-days']),
  }
  if (Object.keys(change).length === 0 && flags.limit.length === 0)
    throw new UsageError(
      'Say what to change: --name, --weight, --limit, --at-most-once, --bulk-paused, --retention-days, --redact-after-days.',
    )
  return change
}

/** None: as the installation says. */
function daysOf(flag: string, name: 'retention_days' | 'redact_after_days', text: string | undefined) {
  if (text === undefined) return {}
  return { [name]: text === 'none' ? null : readNumber(flag, text) }
}

/**
 * @param changes name → number or none; a dot leads into an object, such as `alarms.bounce_rate`
 * @returns only what is named: the API leaves the others as they are
 */
export function limitsOf(changes: Record<string, string>, names: readonly string[] = allLimits): Limits {
  const limits: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(changes)) {
    if (!names.includes(name) && !(name === 'alarms' && value === 'none' && names === allLimits))
      throw new UsageError(`--limit ${name}: there is no such limit. There are ${names.join(', ')}.`)
    const [first = '', second] = name.split('.')
    const read = name === 'alarms.pause_bulk' ? readYesNo : readNumber
    const limit = value === 'none' ? null : read(`limit ${name}`, value)
    limits[first] = second === undefined ? limit : { ...(limits[first] as object | null), [second]: limit }
  }
  return limits
}

function showTenant(tenant: Tenant, { json }: { json: boolean }): void {
  if (json) return void printJson(tenant)
  const { id, name, status, weight, limits, at_most_once, is_default, created_at } = tenant
  const { retention_days, redact_after_days } = tenant
  printFields([
    ['id', id],
    ['name', name],
    ['status', status],
    ['bulk mail held', tenant.bulk_paused],
    ['weight', weight],
    ['limits', JSON.stringify(limits)],
    ['at most once', at_most_once],
    ['mail deleted', retention_days === null ? 'as all' : `after ${counted(retention_days, 'day')}`],
    ['content deleted', redact_after_days === null ? 'as all' : `after ${counted(redact_after_days, 'day')}`],
    ['default', is_default],
    ['created', created_at],
  ])
}
