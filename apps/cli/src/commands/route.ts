/** `valija route …`: the ways that mail can take. */
import type { Route, RouteChange, RouteInput, Valija } from '@valija/client'
import { type ApiFlags, apiFlags, openApi, openApiAsOperator } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { findByName } from '../find-by-name.ts'
import {
  changed,
  need,
  passwordFlag,
  readNumber,
  readOrNone,
  readPassword,
  readYesNo,
} from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'

/** What is the operator's own, and that of no tenant. */
export const sharedFlag = {
  shared: { type: 'boolean', help: 'with the operator’s key: the operator’s own, for all tenants' },
} as const
const flags = { ...sharedFlag, ...apiFlags, ...jsonFlag }
const relayFlags = {
  host: { type: 'string', value: '<host>', help: 'the relay' },
  port: { type: 'string', value: '<port>', help: '587; with implicit TLS 465' },
  tls: { type: 'string', value: '<mode>', help: 'implicit, required, opportunistic or off; opportunistic' },
  user: { type: 'string', value: '<user|none>', help: 'for the login' },
  ...passwordFlag,
  'return-path': { type: 'string', value: '<kind>', help: 'verp, from or fixed: the envelope sender' },
  'return-path-address': { type: 'string', value: '<address|none>', help: 'that of fixed' },
  'rewrites-ids': {
    type: 'string',
    value: '<yes|no>',
    help: 'it rewrites Date and Message-ID, as Amazon SES does',
  },
  pool: { type: 'string', value: '<pool|none>', help: 'the pool of source addresses; of the operator' },
} as const

export const routeCommands: readonly Command[] = [
  command({
    name: 'route list',
    summary: 'the routes that mail can take, and how each stands, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'route list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /routes', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        kind: ({ kind }) => kind,
        relay: ({ host, port }) => (host === null ? null : `${host}:${port}`),
        TLS: ({ tls }) => tls,
        shared: ({ shared }) => shared,
        state: stateText,
        'what was said': ({ paused_reply, down_reply }) => paused_reply ?? down_reply,
      })
    },
  }),
  command({
    name: 'route show',
    args: '<route>',
    summary: 'a route and how it stands, by name or id',
    flags,
    example: 'route show relay-1',
    run: async ({ args, flags }) => {
      const { api, path } = await openRoute(flags, args, 'any')
      showRoute(await api.request('GET /routes/{id}', { path }), flags)
    },
  }),
  command({
    name: 'route create',
    args: '<name>',
    summary: 'adds a way that mail can take: a relay, or what the operator alone may add',
    details: 'Mails, keys and lists of routes name it.',
    flags: {
      kind: { type: 'string', value: '<kind>', help: 'smarthost, mx or capture; smarthost' },
      ...relayFlags,
      ...flags,
    },
    example:
      'route create relay-1 --host relay.example.com --tls required --user acme --password-file password',
    run: async ({ args: [name = ''], flags }) => {
      const kind = (flags.kind ?? 'smarthost') as RouteInput['kind']
      if (kind === 'smarthost') need('host', flags.host)
      const body = { name, kind, ...(await relayOf(flags)) }
      showRoute(await (await openApiFor(flags)).request('POST /routes', { body }), flags)
    },
  }),
  command({
    name: 'route update',
    args: '<route>',
    summary: 'changes where a route leads; what waits for it goes there',
    flags: { ...relayFlags, ...flags },
    example: 'route update relay-1 --password-file password',
    run: async ({ args, flags }) => {
      const body = changed(await relayOf(flags), Object.keys(relayFlags))
      const { api, path } = await openRoute(flags, args, 'own')
      showRoute(await api.request('PATCH /routes/{id}', { path, body }), flags)
    },
  }),
  command({
    name: 'route pause',
    args: '<route>',
    summary: 'mail for it waits, or takes the next of its list, until it is resumed',
    flags: { until: { type: 'string', value: '<time>', help: 'it ends by itself then' }, ...flags },
    example: 'route pause relay-1',
    run: async ({ args, flags }) => {
      const body: RouteChange = {
        state: 'paused',
        ...(flags.until !== undefined && { paused_until: flags.until }),
      }
      const { api, path } = await openRoute(flags, args, 'own')
      showRoute(await api.request('PATCH /routes/{id}', { path, body }), flags)
    },
  }),
  command({
    name: 'route resume',
    args: '<route>',
    summary: 'ends its pause, and tries it again at once where it was down',
    flags,
    example: 'route resume relay-1',
    run: async ({ args, flags }) => {
      const { api, path } = await openRoute(flags, args, 'own')
      showRoute(await api.request('POST /routes/{id}/resume', { path, body: null }), flags)
    },
  }),
  command({
    name: 'route delete',
    args: '<route>',
    summary: 'no mail can take it any more',
    flags: { ...sharedFlag, ...apiFlags },
    example: 'route delete relay-1',
    run: async ({ args, flags }) => {
      const { api, path } = await openRoute(flags, args, 'own')
      await api.request('DELETE /routes/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
]

export type RouteFlags = ApiFlags & { shared: boolean }

export function openApiFor(flags: RouteFlags): Promise<Valija> {
  if (!flags.shared) return openApi(flags)
  if (flags.tenant !== undefined) throw new UsageError('Say one of --shared and --tenant.')
  return openApiAsOperator(flags)
}

/** @param whose `own`: to be changed, which only whoever owns it may do */
async function openRoute(flags: RouteFlags, [route = '']: readonly string[], whose: 'own' | 'any') {
  const api = await openApiFor(flags)
  const named = async function* () {
    const others: Route[] = []
    // A tenant and the operator may each have a route of one name.
    for await (const one of api.list('GET /routes', { query: { limit: 100 } })) {
      if (one.shared === flags.shared) yield one
      else if (one.name === route) others.push(one)
    }
    if (whose === 'own' && others.length > 0)
      throw new Error(
        `The route "${route}" is the operator’s: --shared, with the operator’s key, changes it.`,
      )
    yield* others
  }
  return { api, path: { id: await findByName('route', route, named, ({ name }) => name) } }
}

/** The fields of a relay that were given. */
async function relayOf(
  flags: { readonly [Name in keyof typeof relayFlags]: string | undefined },
): Promise<RouteChange> {
  const fields = {
    host: flags.host,
    port: readNumber('port', flags.port),
    tls: flags.tls as RouteChange['tls'],
    user: readOrNone(flags.user),
    // The one is nothing without the other.
    password: flags.user === 'none' ? null : await readPassword(flags['password-file']),
    return_path: flags['return-path'] as RouteChange['return_path'],
    return_path_address: readOrNone(flags['return-path-address']),
    rewrites_ids: readYesNo('rewrites-ids', flags['rewrites-ids']),
    pool: readOrNone(flags.pool),
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

const stateText = ({ state, paused_reason, down_since }: Route) =>
  state === 'paused'
    ? `paused, ${paused_reason}`
    : down_since === null
      ? 'in use'
      : `down since ${down_since}`

function showRoute(route: Route, { json }: { json: boolean }): void {
  if (json) return void printJson(route)
  const { id, name, kind, host, port, tls, user, shared, pool } = route
  printFields([
    ['id', id],
    ['name', name],
    ['kind', kind],
    ['relay', host && `${host}:${port}, TLS ${tls}`],
    ['user', user],
    ['password', route.has_password],
    ['shared', shared],
    ['return path', route.return_path_address ?? route.return_path],
    ['rewrites ids', route.rewrites_ids],
    ['pool', pool],
    ['state', stateText(route)],
    ['until', route.paused_until],
    ['what was said', route.paused_reply ?? route.down_reply],
    ['made', route.created_at],
  ])
}
