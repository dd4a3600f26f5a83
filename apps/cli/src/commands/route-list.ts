/** `valija route-list …`: which routes the mails of a tenant, of one of its domains, of one stream take. */
import { domainToASCII } from 'node:url'
import type { RouteList, RouteListInput } from '@valija/client'
import { apiFlags } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { findByName } from '../find-by-name.ts'
import { given } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'
import { openApiFor, type RouteFlags, sharedFlag } from './route.ts'

const flags = { ...sharedFlag, ...apiFlags, ...jsonFlag }
const backupFlag = {
  backup: {
    type: 'string',
    multiple: true,
    value: '<route[=weight]>',
    help: 'taken only while none of the others can be',
  },
} as const
const weights = 'A weight behind a route is its share of the recipients against the others; without one, 1.'

export const routeListCommands: readonly Command[] = [
  command({
    name: 'route-list list',
    summary: 'which mails take which routes, newest first; the most specific one counts',
    flags: { ...sharedFlag, ...apiFlags, ...listFlags },
    example: 'route-list list',
    run: async ({ flags }) => {
      const api = await openApiFor(flags)
      await printList(api.list('GET /route-lists', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        mails: mailsOf,
        routes: (list) => routesText(list, false),
        backups: (list) => routesText(list, true),
      })
    },
  }),
  command({
    name: 'route-list show',
    args: '<list>',
    summary: 'a list, by id or by its mails: all, bulk, acme.example, acme.example/bulk',
    flags,
    example: 'route-list show bulk',
    run: async ({ args, flags }) => {
      const { api, path } = await openList(flags, args)
      showList(await api.request('GET /route-lists/{id}', { path }), flags)
    },
  }),
  command({
    name: 'route-list create',
    args: '<route[=weight]>…',
    summary: 'says which routes mails take: all, those of a stream, of a domain',
    details: weights,
    flags: {
      domain: { type: 'string', value: '<domain>', help: 'only from this sender domain and what lies below' },
      stream: { type: 'string', value: '<stream>', help: 'only transactional, or only bulk' },
      ...backupFlag,
      ...flags,
    },
    example: 'route-list create relay-1=3 relay-2 --backup relay-3 --stream bulk',
    run: async ({ args, flags }) => {
      const { domain, stream } = flags
      const body = { ...given({ domain, stream }), routes: routesOf(args, flags.backup) } as RouteListInput
      showList(await (await openApiFor(flags)).request('POST /route-lists', { body }), flags)
    },
  }),
  command({
    name: 'route-list update',
    args: '<list> <route[=weight]>…',
    summary: 'these routes stand in the place of the former ones',
    details: weights,
    flags: { ...backupFlag, ...flags },
    example: 'route-list update bulk relay-2',
    run: async ({ args: [list = '', ...routes], flags }) => {
      const { api, path } = await openList(flags, [list])
      const body = { routes: routesOf(routes, flags.backup) }
      showList(await api.request('PATCH /route-lists/{id}', { path, body }), flags)
    },
  }),
  command({
    name: 'route-list delete',
    args: '<list>',
    summary: 'its mails go by the next list that is for them, or as VALIJA_DELIVERY says',
    flags: { ...sharedFlag, ...apiFlags },
    example: 'route-list delete bulk',
    run: async ({ args, flags }) => {
      const { api, path } = await openList(flags, args)
      await api.request('DELETE /route-lists/{id}', { path })
      print(`deleted  ${path.id}\n`)
    },
  }),
]

async function openList(flags: RouteFlags, [list = '']: readonly string[]) {
  const api = await openApiFor(flags)
  const all = () => api.list('GET /route-lists', { query: { limit: 100 } })
  const [first = '', ...stream] = list.split('/')
  const name = [domainToASCII(first), ...stream].join('/')
  return { api, path: { id: await findByName('route-list', list, all, mailsOf, name) } }
}

/** What a list is called by. A stream is no domain's name: that has a dot. */
const mailsOf = ({ domain, stream }: RouteList) =>
  [domain, stream].filter((one) => one !== null).join('/') || 'all'

const routesOf = (routes: readonly string[], backups: readonly string[]): RouteListInput['routes'] => [
  ...routes.map((route) => entryOf(route, false)),
  ...backups.map((route) => entryOf(route, true)),
]

function entryOf(word: string, backup: boolean): RouteListInput['routes'][number] {
  const [route = '', weight] = word.split('=', 2)
  if (weight === undefined) return { route, backup }
  if (/^\d+$/.test(weight)) return { route, weight: Number(weight), backup }
  throw new UsageError(`The weight of a route is a number, as in ${route}=3, not "${weight}".`)
}

const routesText = ({ routes }: RouteList, isBackup: boolean) =>
  routes
    .filter(({ backup }) => backup === isBackup)
    .map(({ route, weight }) => (weight === 1 ? route : `${route}=${weight}`))
    .join(' ')

function showList(list: RouteList, { json }: { json: boolean }): void {
  if (json) return void printJson(list)
  printFields([
    ['id', list.id],
    ['mails', mailsOf(list)],
    ['routes', routesText(list, false)],
    ['backups', routesText(list, true)],
    ['made', list.created_at],
  ])
}
