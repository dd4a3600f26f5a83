/** `valija source-ip …`: the addresses that mail to exchangers leaves from, and their warm-up; the operator's. */
import type { Source, SourceChange } from '@valija/client'
import { type ApiFlags, openApiAsOperator, operatorFlags } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { findByName } from '../find-by-name.ts'
import { changed, given, need, readNumber, readOrNone } from '../flag-values.ts'
import {
  jsonFlag,
  listFlags,
  pageQuery,
  print,
  printFields,
  printJson,
  printList,
  printTable,
} from '../output.ts'

const flags = { ...operatorFlags, ...jsonFlag }
const sourceFlags = {
  'ehlo-name': { type: 'string', value: '<name>', help: 'given in EHLO; should be the PTR of the address' },
  bind: {
    type: 'string',
    value: '<address|none>',
    help: 'that of the worker’s machine, where it is behind a NAT',
  },
  ipv6: { type: 'string', value: '<address|none>', help: 'the IPv6 address that it also sends from' },
  pool: {
    type: 'string',
    value: '<pool>',
    help: 'transactional or bulk, for that stream; default, for both; another one for routes that name it',
  },
  weight: { type: 'string', value: '<number>', help: 'its share against the others of its pool' },
  'warm-up': {
    type: 'string',
    value: '<yes|no|caps>',
    help: 'yes: the usual schedule; or mails per provider and day, stage by stage: 50,100,500',
  },
  'max-deferral-rate': { type: 'string', value: '<share>', help: 'of a warm-up: a stage is lost there; 0.1' },
  'max-complaint-rate': { type: 'string', value: '<share>', help: 'of a warm-up: likewise; 0.001' },
} as const

export const sourceCommands: readonly Command[] = [
  command({
    name: 'source-ip list',
    summary: 'the addresses that mail to exchangers leaves from, and how each stands, newest first',
    flags: { ...operatorFlags, ...listFlags },
    example: 'source-ip list',
    run: async ({ flags }) => {
      const api = await openApiAsOperator(flags)
      await printList(api.list('GET /source-ips', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        address: ({ address }) => address,
        'EHLO name': ({ ehlo_name }) => ehlo_name,
        pool: ({ pool }) => pool,
        weight: ({ weight }) => weight,
        state: ({ state }) => state,
        'warm-up': ({ warm_up }) => (warm_up === null ? null : stageText(warm_up)),
        health: ({ health }) => health.status,
        'what was said': ({ health }) => health.blocked_reply,
      })
    },
  }),
  command({
    name: 'source-ip show',
    args: '<address>',
    summary: 'an address, how it stands, and how far its warm-up is with each provider; by address or id',
    flags,
    example: 'source-ip show 192.0.2.10',
    run: async ({ args, flags }) => {
      const { api, path } = await openSource(flags, args)
      showSource(await api.request('GET /source-ips/{id}', { path }), flags)
    },
  }),
  command({
    name: 'source-ip create',
    args: '<address>',
    summary: 'mail to exchangers leaves from it, wherever a worker has it',
    details: 'The first one takes the place of VALIJA_SOURCE_IPS: make one for every pool that mail needs.',
    flags: { ...sourceFlags, ...flags },
    example: 'source-ip create 192.0.2.10 --ehlo-name mail1.example.com --pool bulk --warm-up yes',
    run: async ({ args: [address = ''], flags }) => {
      const body = { address, ehlo_name: need('ehlo-name', flags['ehlo-name']), ...given(sourceOf(flags)) }
      showSource(await (await openApiAsOperator(flags)).request('POST /source-ips', { body }), flags)
    },
  }),
  command({
    name: 'source-ip update',
    args: '<address>',
    summary: 'changes its name, pool, share or warm-up',
    flags: { ...sourceFlags, ...flags },
    example: 'source-ip update 192.0.2.10 --warm-up no',
    run: ({ args, flags }) =>
      changeSource(args, changed(sourceOf(flags), Object.keys(sourceFlags)) as SourceChange, flags),
  }),
  standing('source-ip pause', 'paused', 'nothing leaves from it, until it is resumed'),
  standing('source-ip resume', 'enabled', 'mail leaves from it again'),
  command({
    name: 'source-ip delete',
    args: '<address>',
    summary: 'nothing leaves from it any more',
    flags: operatorFlags,
    example: 'source-ip delete 192.0.2.10',
    run: async ({ args, flags }) => {
      const { api, path } = await openSource(flags, args)
      await api.request('DELETE /source-ips/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
]

function standing(name: string, state: Source['state'], summary: string): Command {
  return command({
    name,
    args: '<address>',
    summary,
    flags,
    example: `${name} 192.0.2.10`,
    run: ({ args, flags }) => changeSource(args, { state }, flags),
  })
}

type Flags = ApiFlags & { json: boolean }

async function changeSource(args: readonly string[], body: SourceChange, flags: Flags): Promise<void> {
  const { api, path } = await openSource(flags, args)
  showSource(await api.request('PATCH /source-ips/{id}', { path, body }), flags)
}

async function openSource(flags: ApiFlags, [address = '']: readonly string[]) {
  const api = await openApiAsOperator(flags)
  const all = () => api.list('GET /source-ips', { query: { limit: 100 } })
  return { api, path: { id: await findByName('source-ip', address, all, (source) => source.address) } }
}

/** The fields that were given; undefined where nothing was. */
const sourceOf = (flags: { readonly [Name in keyof typeof sourceFlags]: string | undefined }) => ({
  ehlo_name: flags['ehlo-name'],
  bind: readOrNone(flags.bind),
  ipv6: readOrNone(flags.ipv6),
  pool: flags.pool,
  weight: readNumber('weight', flags.weight),
  warm_up: warmUpOf(
    flags['warm-up'],
    given({
      max_deferral_rate: readNumber('max-deferral-rate', flags['max-deferral-rate']),
      max_complaint_rate: readNumber('max-complaint-rate', flags['max-complaint-rate']),
    }),
  ),
})

function warmUpOf(word: string | undefined, rates: object): SourceChange['warm_up'] {
  const hasRates = Object.keys(rates).length > 0
  if (hasRates && (word === undefined || word === 'no'))
    throw new UsageError('The rates are those of a warm-up: say --warm-up as well.')
  if (word === undefined || word === 'no') return word && null
  if (word === 'yes') return hasRates ? rates : true
  if (/^\d+(,\d+)*$/.test(word)) return { caps: word.split(',').map(Number), ...rates }
  throw new UsageError(`--warm-up takes yes, no or numbers such as 50,100,500, not "${word}".`)
}

type WarmUp = NonNullable<Source['warm_up']>

/** How far it is where it is least far. */
function stageText({ caps, providers }: WarmUp): string {
  const stage = providers.length === 0 ? 1 : Math.min(...providers.map((one) => one.stage))
  return stage > caps.length ? 'over' : `stage ${stage} of ${caps.length}`
}

function showSource(source: Source, { json }: { json: boolean }): void {
  if (json) return void printJson(source)
  const { id, address, bind, ipv6, pool, weight, state, warm_up, health } = source
  printFields([
    ['id', id],
    ['address', address],
    ['bound to', bind],
    ['IPv6', ipv6],
    ['EHLO name', source.ehlo_name],
    ['pool', pool],
    ['weight', weight],
    ['state', state],
    ['health', health.status],
    ['a worker had it', health.bound_at],
    ['refused', health.blocked_at],
    ['what was said', health.blocked_reply],
    ['warm-up', warm_up && `${warm_up.caps.join(', ')} a day`],
    ['made', source.created_at],
  ])
  if (warm_up === null || warm_up.providers.length === 0) return
  print('\n')
  printTable(
    ['provider', 'stage', 'used today', 'of', 'in this hour', 'of', 'handed off', 'deferred', 'complained'],
    warm_up.providers.map((one) => [
      ...[one.provider, one.stage, one.used_in_day, one.cap_per_day, one.used_in_hour, one.cap_per_hour],
      ...[one.handed_off, one.deferred, one.complained],
    ]),
  )
}
