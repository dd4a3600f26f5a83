/** `valija key …`: the API keys of a tenant. */
import type { Key, KeyChange, KeyInput } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { changed, given, need, readList, readOrNone, readPairs } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printFields, printJson, printList } from '../output.ts'
import { limitsOf, usageLimitNames } from './tenant.ts'

const flags = { ...apiFlags, ...jsonFlag }
const grantFlags = {
  name: { type: 'string', value: '<name>', help: 'for people' },
  scope: { type: 'string', multiple: true, value: '<scope>', help: 'send, read, read:content, manage' },
  domain: {
    type: 'string',
    multiple: true,
    value: '<domain>',
    help: 'the only domains that it may send from',
  },
  network: {
    type: 'string',
    multiple: true,
    value: '<cidr>',
    help: 'the only networks that it may be used from',
  },
  recipient: {
    type: 'string',
    multiple: true,
    value: '<address>',
    help: 'the only ones that it may send to; @domain for all of it',
  },
  route: { type: 'string', value: '<route>', help: 'the route that its mails take' },
  expires: { type: 'string', value: '<time>', help: 'when it stops to work' },
  limit: {
    type: 'string',
    multiple: true,
    value: '<name=number>',
    help: `what it may do at most: ${usageLimitNames.join(', ')}`,
  },
} as const

export const keyCommands: readonly Command[] = [
  command({
    name: 'key create',
    summary: 'makes an API key and prints it, once',
    details: 'A key makes no key that can do more than itself.',
    flags: { ...grantFlags, ...flags },
    example: 'key create --name shop --scope send --scope read',
    run: async ({ flags }) => {
      const { name, scope, domain, network, recipient, route, expires, limit } = flags
      const body = {
        name: need('name', name),
        scopes: scope as KeyInput['scopes'],
        ...given({ domains: domain, networks: network, recipients: recipient, route, expires_at: expires }),
        ...given({ limits: keyLimitsOf(limit) }),
      }
      const made = await (await openApi(flags)).request('POST /keys', { body })
      if (flags.json) printJson(made)
      else print(`key  ${made.id}  ${made.name}\n     ${made.key}  (shown once)\n`)
    },
  }),
  command({
    name: 'key list',
    summary: 'all keys, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'key list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /keys', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        name: ({ name }) => name,
        key: ({ hint }) => `${hint}…`,
        scopes: ({ scopes }) => scopes.join(' '),
        expires: ({ expires_at }) => expires_at,
        'bound to': ({ domains, networks, recipients, route }) =>
          [...domains, ...networks, ...recipients, ...(route === null ? [] : [route])].join(' '),
      })
    },
  }),
  command({
    name: 'key show',
    args: '<id>',
    summary: 'what a key may do, and what it is bound to',
    flags,
    example: 'key show key_0192f0c1a2b37c4d8e5f60718293a4b5',
    run: async ({ args: [id = ''], flags }) =>
      showKey(await (await openApi(flags)).request('GET /keys/{id}', { path: { id } }), flags),
  }),
  command({
    name: 'key update',
    args: '<id>',
    summary: 'changes what a key may do, everywhere within 5 s',
    details:
      'A list that is given stands in the place of the former one; none empties it, and takes away a route, a time or a limit. Limits that are not named stay as they are.',
    flags: {
      ...grantFlags,
      ...flags,
    },
    example: 'key update key_0192f0c1a2b37c4d8e5f60718293a4b5 --scope send --limit recipients_per_day=1000',
    run: async ({ args: [id = ''], flags }) => {
      const body = changed(
        {
          name: flags.name,
          scopes: flags.scope.length === 0 ? undefined : (flags.scope as KeyChange['scopes']),
          domains: readList(flags.domain),
          networks: readList(flags.network),
          recipients: readList(flags.recipient),
          route: readOrNone(flags.route),
          expires_at: readOrNone(flags.expires),
          limits: keyLimitsOf(flags.limit),
        },
        Object.keys(grantFlags),
      )
      showKey(await (await openApi(flags)).request('PATCH /keys/{id}', { path: { id }, body }), flags)
    },
  }),
  command({
    name: 'key revoke',
    args: '<id>',
    summary: 'a key works no more, everywhere within 5 s',
    flags: apiFlags,
    example: 'key revoke key_0192f0c1a2b37c4d8e5f60718293a4b5',
    run: async ({ args: [id = ''], flags }) => {
      await (await openApi(flags)).request('DELETE /keys/{id}', { path: { id } })
      print(`revoked  ${id}\n`)
    },
  }),
]

function keyLimitsOf(limits: readonly string[]): KeyChange['limits'] {
  if (limits.length === 0) return undefined
  return limitsOf(readPairs('limit', limits), usageLimitNames) as KeyChange['limits']
}

function showKey(key: Key, { json }: { json: boolean }): void {
  if (json) return void printJson(key)
  printFields([
    ['id', key.id],
    ['name', key.name],
    ['key', `${key.hint}…`],
    ['scopes', key.scopes.join(' ')],
    ['domains', key.domains.join(' ')],
    ['networks', key.networks.join(' ')],
    ['recipients', key.recipients.join(' ')],
    ['route', key.route],
    ['limits', JSON.stringify(key.limits)],
    ['expires', key.expires_at],
    ['made', key.created_at],
  ])
}
