/** `valija webhook …`: endpoints that are told of events, and one on this machine while developing. */
import type { Webhook } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command, UsageError } from '../command.ts'
import { given } from '../flag-values.ts'
import { counted } from '../in-commands.ts'
import { jsonFlag, listFlags, note, pageQuery, print, printFields, printJson, printList } from '../output.ts'

const flags = { ...apiFlags, ...jsonFlag }
export const narrowFlags = {
  event: {
    type: 'string',
    multiple: true,
    value: '<type>',
    help: 'such as message.bounced; all but message.attempted',
  },
  domain: {
    type: 'string',
    multiple: true,
    value: '<domain>',
    help: 'only of mails from this sender domain',
  },
  tag: { type: 'string', multiple: true, value: '<tag>', help: 'only of mails with this tag' },
} as const

export const listenFlags = {
  port: { type: 'string', value: '<port>', help: 'where it listens; any that is free' },
  'public-url': {
    type: 'string',
    value: '<url>',
    help: 'by which the API reaches it, such as a tunnel’s; http://127.0.0.1:<port>/',
  },
  ...narrowFlags,
  ...flags,
} as const

export const webhookCommands: readonly Command[] = [
  command({
    name: 'webhook list',
    summary: 'all webhooks, newest first',
    flags: { ...apiFlags, ...listFlags },
    example: 'webhook list',
    run: async ({ flags }) => {
      const api = await openApi(flags)
      await printList(api.list('GET /webhooks', { query: pageQuery(flags) }), flags, {
        id: ({ id }) => id,
        status: ({ status, disabled_reason }) =>
          disabled_reason === null ? status : `${status}, ${disabled_reason}`,
        events: ({ events }) => events.join(' '),
        'only of': ({ domains, tags }) => [...domains, ...tags].join(' '),
        waiting: ({ pending }) => `${pending.is_exact ? '' : 'over '}${pending.events}`,
        'failing since': ({ failing_since }) => failing_since,
        'last error': ({ last_error }) =>
          last_error && (last_error.error ?? `status ${last_error.status_code}`),
        url: ({ url }) => url,
      })
    },
  }),
  command({
    name: 'webhook create',
    args: '<url>',
    summary: 'tells an endpoint of events, and prints its secret, once',
    flags: { ...narrowFlags, ...flags },
    example: 'webhook create https://acme.example/hooks --event message.bounced --event message.complained',
    run: async ({ args: [url = ''], flags }) => {
      const body = { url, ...narrowed(flags) }
      const made = await (await openApi(flags)).request('POST /webhooks', { body })
      if (flags.json) printJson(made)
      else print(`webhook  ${made.id}  ${made.url}\nsecret   ${made.secret}  (shown once)\n`)
    },
  }),
  command({
    name: 'webhook test',
    args: '<id>',
    summary: 'sends it a signed event now; exit code 1 when it does not take it',
    flags,
    example: 'webhook test whk_0192f0c1a2b37c4d8e5f60718293a4b5',
    run: async ({ args: [id = ''], flags }) => {
      const result = await (await openApi(flags)).request('POST /webhooks/{id}/test', { path: { id } })
      if (!result.ok) process.exitCode = 1
      if (flags.json) return printJson(result)
      printFields([
        ['taken', result.ok],
        ['status', result.status_code],
        ['error', result.error],
        ['answer', result.response_start],
        ['ms', Math.round(result.duration_ms)],
      ])
    },
  }),
  command({
    name: 'webhook replay',
    args: '<id>',
    summary: 'tells it again: one event, those of a time, or all that waits for a later try',
    flags: {
      event: { type: 'string', value: '<event id>', help: 'this event' },
      after: { type: 'string', value: '<time>', help: 'what happened at or after' },
      before: { type: 'string', value: '<time>', help: 'with --after: and before' },
      type: { type: 'string', multiple: true, value: '<type>', help: 'with --after: only these types' },
      failed: { type: 'boolean', help: 'all that waits for a later try, now' },
      ...flags,
    },
    example: 'webhook replay whk_0192f0c1a2b37c4d8e5f60718293a4b5 --after 2026-11-23T00:00:00Z',
    run: async ({ args: [id = ''], flags }) => {
      const { event, after, before, type, failed } = flags
      if ([event, after, failed || undefined].filter((one) => one !== undefined).length !== 1)
        throw new UsageError('Say one of --event, --after and --failed.')
      const body = { ...given({ event_id: event, after, before, types: type }), ...(failed && { failed }) }
      const api = await openApi(flags)
      const replay = await api.request('POST /webhooks/{id}/replay', { path: { id }, body })
      if (flags.json) printJson(replay)
      else print(`${replay.is_exact ? '' : 'more than '}${counted(replay.events, 'event')} will be told\n`)
    },
  }),
  command({
    name: 'webhook delete',
    args: '<id>',
    summary: 'it is told of nothing any more',
    flags: apiFlags,
    example: 'webhook delete whk_0192f0c1a2b37c4d8e5f60718293a4b5',
    run: async ({ args: [id = ''], flags }) => {
      await (await openApi(flags)).request('DELETE /webhooks/{id}', { path: { id } })
      print(`deleted  ${id}\n`)
    },
  }),
  command({
    name: 'webhook listen',
    summary: 'prints events as they happen: an endpoint on this machine, until Ctrl-C',
    details:
      'It makes a webhook for itself, verifies each signature, and deletes the webhook at its end. With --json each event is a line.',
    flags: listenFlags,
    example: 'webhook listen --event message.delivered --event message.bounced',
    run: async ({ flags }) => (await import('../listen-for-webhooks.ts')).listenForWebhooks(flags, note),
  }),
]

/** The fields of POST /webhooks that the flags say. */
export function narrowed({ event, domain, tag }: { event: string[]; domain: string[]; tag: string[] }): {
  events: Webhook['events']
  domains?: string[]
  tags?: string[]
} {
  return { events: event.length === 0 ? ['*'] : event, ...given({ domains: domain, tags: tag }) }
}
