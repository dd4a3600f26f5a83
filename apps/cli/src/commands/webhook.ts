/** `valija webhook …`: endpoints that are told of events, and one on this machine while developing. */
import type { Input, Webhook, WebhookChange } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command, type FlagValues, UsageError } from '../command.ts'
import { changed, given, readList, readNumber } from '../flag-values.ts'
import { counted } from '../in-commands.ts'
import { jsonFlag, listFlags, note, pageQuery, print, printFields, printJson, printList } from '../output.ts'

const flags = { ...apiFlags, ...jsonFlag }
const exampleId = 'whk_0192f0c1a2b37c4d8e5f60718293a4b5'
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
        status: statusText,
        events: ({ events }) => events.join(' '),
        'only of': ({ domains, tags }) => [...domains, ...tags].join(' '),
        waiting: waitingText,
        'failing since': ({ failing_since }) => failing_since,
        'last error': lastErrorText,
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
    name: 'webhook show',
    args: '<id>',
    summary: 'a webhook, what it is told of, and how it does',
    flags,
    example: `webhook show ${exampleId}`,
    run: async ({ args: [id = ''], flags }) =>
      showWebhook(await (await openApi(flags)).request('GET /webhooks/{id}', { path: { id } }), flags),
  }),
  command({
    name: 'webhook update',
    args: '<id>',
    summary: 'changes where it leads, and what it is told of',
    details: 'A list that is given stands in the place of the former one; none empties it.',
    flags: {
      'public-url': { type: 'string', value: '<url>', help: 'where it leads' },
      ...narrowFlags,
      batch: { type: 'string', value: '<n|none>', help: 'so many events in one request at most' },
      'batch-wait': {
        type: 'string',
        value: '<ms>',
        help: 'with --batch: how long an event waits for others',
      },
      ...flags,
    },
    example: `webhook update ${exampleId} --event message.bounced --tag receipt`,
    run: async ({ args: [id = ''], flags }) => changeWebhook(id, changeOf(flags), flags),
  }),
  standing('webhook disable', 'disabled', 'it is told of nothing, until it is enabled'),
  standing('webhook enable', 'enabled', 'it is told again, also of what it missed'),
  command({
    name: 'webhook rotate-secret',
    args: '<id>',
    summary: 'gives it a new secret, and prints it, once; the former one signs as well for a day',
    flags: {
      overlap: {
        type: 'string',
        value: '<seconds>',
        help: 'how long the former one signs as well, up to 7 days; 0: no more',
      },
      ...flags,
    },
    example: `webhook rotate-secret ${exampleId} --overlap 3600`,
    run: async ({ args: [id = ''], flags }) => {
      const body = given({ overlap_seconds: readNumber('overlap', flags.overlap) })
      const api = await openApi(flags)
      const made = await api.request('POST /webhooks/{id}/rotate-secret', { path: { id }, body })
      if (flags.json) return printJson(made)
      const { secret, former_secret_until: until } = made
      print(
        `secret  ${secret}  (shown once)\n${until === null ? '' : `The former one signs as well until ${until}.\n`}`,
      )
    },
  }),
  command({
    name: 'webhook deliveries',
    args: '<id>',
    summary: 'each try to tell it of an event, newest first',
    flags: {
      event: { type: 'string', value: '<event id>', help: 'of this event' },
      type: { type: 'string', multiple: true, value: '<type>', help: 'of events of this type' },
      outcome: { type: 'string', value: '<outcome>', help: 'delivered or failed' },
      after: { type: 'string', value: '<time>', help: 'begun at or after' },
      before: { type: 'string', value: '<time>', help: 'begun before' },
      ...apiFlags,
      ...listFlags,
    },
    example: `webhook deliveries ${exampleId} --outcome failed`,
    run: async ({ args: [id = ''], flags }) => {
      const { event, type, outcome, after, before } = flags
      const query = {
        ...given({ event_id: event, type, outcome, after, before }),
        ...pageQuery(flags),
      } as Input<'GET /webhooks/{id}/deliveries'>['query']
      const api = await openApi(flags)
      await printList(api.list('GET /webhooks/{id}/deliveries', { path: { id }, query }), flags, {
        began: ({ started_at }) => started_at,
        event: ({ event_id }) => event_id,
        type: ({ type }) => type,
        try: ({ number }) => number,
        outcome: ({ outcome }) => outcome,
        status: ({ status_code }) => status_code,
        ms: ({ duration_ms }) => Math.round(duration_ms),
        again: ({ next_try_at }) => next_try_at,
        'what was wrong': ({ error }) => error,
      })
    },
  }),
  command({
    name: 'webhook pending',
    args: '<id>',
    summary: 'what it has still to be told, oldest first',
    flags: { ...apiFlags, ...listFlags },
    example: `webhook pending ${exampleId}`,
    run: async ({ args: [id = ''], flags }) => {
      const api = await openApi(flags)
      const listing = api.list('GET /webhooks/{id}/pending', { path: { id }, query: pageQuery(flags) })
      await printList(listing, flags, {
        happened: ({ timestamp }) => timestamp,
        event: ({ event_id }) => event_id,
        type: ({ type }) => type,
        tries: ({ tries }) => tries,
        status: ({ status }) => status,
        next: ({ next_try_at }) => next_try_at,
      })
    },
  }),
  command({
    name: 'webhook test',
    args: '<id>',
    summary: 'sends it a signed event now; exit code 1 when it does not take it',
    flags,
    example: `webhook test ${exampleId}`,
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
    example: `webhook replay ${exampleId} --after 2026-11-23T00:00:00Z`,
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
    example: `webhook delete ${exampleId}`,
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

function standing(name: string, status: Webhook['status'], summary: string): Command {
  return command({
    name,
    args: '<id>',
    summary,
    flags,
    example: `${name} ${exampleId}`,
    run: async ({ args: [id = ''], flags }) => changeWebhook(id, { status }, flags),
  })
}

async function changeWebhook(
  id: string,
  body: WebhookChange,
  flags: FlagValues<typeof apiFlags & typeof jsonFlag>,
) {
  const api = await openApi(flags)
  showWebhook(await api.request('PATCH /webhooks/{id}', { path: { id }, body }), flags)
}

function changeOf(flags: {
  'public-url': string | undefined
  event: string[]
  domain: string[]
  tag: string[]
  batch: string | undefined
  'batch-wait': string | undefined
}): WebhookChange {
  const wait = readNumber('batch-wait', flags['batch-wait'])
  if (wait !== undefined && (flags.batch === undefined || flags.batch === 'none'))
    throw new UsageError('--batch-wait is of no use without --batch: say how many events.')
  const size = flags.batch === 'none' ? null : readNumber('batch', flags.batch)
  return changed(
    {
      url: flags['public-url'],
      events: flags.event.length === 0 ? undefined : flags.event,
      domains: readList(flags.domain),
      tags: readList(flags.tag),
      batch:
        size === undefined || size === null ? size : { max_events: size, ...given({ max_wait_ms: wait }) },
    },
    ['public-url', 'event', 'domain', 'tag', 'batch'],
  )
}

const statusText = ({ status, disabled_reason }: Webhook) =>
  disabled_reason === null ? status : `${status}, ${disabled_reason}`
const waitingText = ({ pending }: Webhook) => `${pending.is_exact ? '' : 'over '}${pending.events}`
const lastErrorText = ({ last_error }: Webhook) =>
  last_error && (last_error.error ?? `status ${last_error.status_code}`)

function showWebhook(webhook: Webhook, { json }: { json: boolean }): void {
  if (json) return void printJson(webhook)
  const { id, url, events, domains, tags, batch, last_error } = webhook
  printFields([
    ['id', id],
    ['url', url],
    ['status', statusText(webhook)],
    ['disabled since', webhook.disabled_at],
    ['events', events.join(' ')],
    ['only from', domains.join(' ')],
    ['only with tags', tags.join(' ')],
    ['batches', batch && `of ${batch.max_events}, after ${batch.max_wait_ms} ms`],
    ['failing since', webhook.failing_since],
    ['last error', last_error && `${lastErrorText(webhook)}, ${last_error.at}`],
    ['waiting', waitingText(webhook)],
    ['former secret until', webhook.former_secret_until],
    ['made', webhook.created_at],
  ])
}
