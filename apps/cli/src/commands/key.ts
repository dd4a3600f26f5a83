/** `valija key …`: the API keys of a tenant. */
import type { KeyInput } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { given, need } from '../flag-values.ts'
import { jsonFlag, listFlags, pageQuery, print, printJson, printList } from '../output.ts'

export const keyCommands: readonly Command[] = [
  command({
    name: 'key create',
    summary: 'makes an API key and prints it, once',
    details: 'A key makes no key that can do more than itself.',
    flags: {
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
      ...apiFlags,
      ...jsonFlag,
    },
    example: 'key create --name shop --scope send --scope read',
    run: async ({ flags }) => {
      const { name, scope, domain, network, recipient, route, expires } = flags
      const body = {
        name: need('name', name),
        scopes: scope as KeyInput['scopes'],
        ...given({ domains: domain, networks: network, recipients: recipient, route, expires_at: expires }),
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
