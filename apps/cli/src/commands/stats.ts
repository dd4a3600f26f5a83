/** `valija stats`: what became of the mail, in numbers. */
import type { Input, StatsRow } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { command, UsageError } from '../command.ts'
import { given, readNumber } from '../flag-values.ts'
import { jsonFlag, note, printJson, printTable } from '../output.ts'
import type { Cell } from '../text-table.ts'

type Query = Input<'GET /stats'>['query']

export const statsCommand = command({
  name: 'stats',
  summary: 'what became of the mail, in numbers: by hour or day, and by domain, stream, provider or tag',
  details:
    'Days, hours and times are UTC. Rates are of recipients: bounced of delivered and bounced, complained of delivered. Latency is from when a mail was due to the receiving server’s yes.',
  flags: {
    interval: { type: 'string', value: '<hour|day|total>', help: 'what a row sums up; day' },
    by: { type: 'string', value: '<domain|stream|provider|tag>', help: 'a row for each' },
    groups: {
      type: 'string',
      value: '<n>',
      help: 'with --by: how many, up to 100; 25. The others are one row',
    },
    after: { type: 'string', value: '<time>', help: 'from then on, up to 31 days of hours, 400 days' },
    before: { type: 'string', value: '<time>', help: 'until then; now' },
    domain: { type: 'string', value: '<domain>', help: 'only of mails from this sender domain' },
    stream: { type: 'string', value: '<stream>', help: 'only transactional, or only bulk' },
    provider: { type: 'string', value: '<provider>', help: 'only of mails to this provider, such as google' },
    tag: { type: 'string', value: '<tag>', help: 'only of mails with this tag' },
    ...apiFlags,
    ...jsonFlag,
  },
  example: 'stats --interval hour --by provider --after 2026-11-23T00:00:00Z',
  run: async ({ flags }) => {
    const { interval, by, groups, after, before, domain, stream, provider, tag } = flags
    if (groups !== undefined && by === undefined)
      throw new UsageError('--groups is of no use without --by: say by what.')
    const query = {
      ...given({ interval, group_by: by, groups: readNumber('groups', groups), after, before }),
      ...given({ domain, stream, provider, tag }),
    } as Query
    const stats = await (await openApi(flags)).request('GET /stats', { query })
    if (flags.json) return printJson(stats)
    const columns = statsColumns(by)
    printTable(
      Object.keys(columns),
      stats.data.map((row) => Object.values(columns).map((column) => column(row))),
    )
    note(`\n${stats.after} to ${stats.before}; ${counted(stats.as_of)}`)
  },
})

const counted = (until: string | null) =>
  until === null ? 'nothing is counted yet' : `counted up to ${until}`

/** @param by what the rows are grouped by */
export function statsColumns(by: string | undefined): Readonly<Record<string, (row: StatsRow) => Cell>> {
  return {
    from: ({ start }) => start.replace(/:00\.000Z$/, 'Z'),
    ...(by !== undefined && { [by]: (row: StatsRow) => row[by as 'domain'] ?? 'others' }),
    accepted: ({ accepted }) => accepted,
    delivered: ({ delivered }) => delivered,
    deferred: ({ deferred }) => deferred,
    bounced: ({ bounced }) => bounced,
    failed: ({ failed }) => failed,
    suppressed: ({ suppressed }) => suppressed,
    cancelled: ({ cancelled }) => cancelled,
    complained: ({ complained }) => complained,
    unsubscribed: ({ unsubscribed }) => unsubscribed,
    'bounce rate': ({ bounce_rate }) => percent(bounce_rate),
    'complaint rate': ({ complaint_rate }) => percent(complaint_rate),
    'latency p50': ({ latency_ms }) => seconds(latency_ms?.p50),
    p99: ({ latency_ms }) => seconds(latency_ms?.p99),
  }
}

const percent = (share: number | null): Cell => (share === null ? null : `${(share * 100).toFixed(2)} %`)

const seconds = (ms: number | undefined): Cell =>
  ms === undefined ? null : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 0)} s`
