/** `valija queue`: what waits and what is held up, over all tenants. */
import type { Queue } from '@valija/client'
import { openApiAsOperator, operatorFlags } from '../api-client.ts'
import { type Command, command } from '../command.ts'
import { jsonFlag, print, printFields, printJson, printTable } from '../output.ts'

const flags = { ...operatorFlags, ...jsonFlag }

export const queueCommands: readonly Command[] = [
  command({
    name: 'queue',
    summary: 'what waits, whose it is, and the sites that are slowed or suspended',
    flags,
    example: 'queue',
    run: async ({ flags }) => {
      const queue = await (await openApiAsOperator(flags)).request('GET /queue')
      if (flags.json) printJson(queue)
      else showQueue(queue)
    },
  }),
  command({
    name: 'queue resume',
    args: '<id>',
    summary: 'lifts what slows a site, and tries it again at once',
    flags,
    example: 'queue resume 4f1c…',
    run: async ({ args: [id = ''], flags }) => {
      const api = await openApiAsOperator(flags)
      const site = await api.request('POST /queue/sites/{id}/resume', { path: { id } })
      if (flags.json) printJson(site)
      else print(`${site.site}  ${site.state}\n`)
    },
  }),
]

function showQueue({ waiting, due, admitted, leased, oldest_due_at, tenants, sites, holds }: Queue): void {
  printFields([
    [
      'waiting',
      `${waiting}, of these due ${due}${oldest_due_at === null ? '' : `, the oldest since ${oldest_due_at}`}`,
    ],
    ['admitted', admitted],
    ['with workers', leased],
  ])
  if (tenants.length > 0) {
    print('\n')
    printTable(
      ['tenant', 'id', 'waiting', 'due', 'admitted', 'with workers', 'oldest due'],
      tenants.map((one) => [
        one.name,
        one.id,
        one.waiting,
        one.due,
        one.admitted,
        one.leased,
        one.oldest_due_at,
      ]),
    )
  }
  if (sites.length > 0) {
    print('\n')
    printTable(
      ['site', 'provider', 'state', 'until', 'connections', 'source', 'id', 'reason', 'reply'],
      sites.map((one) => [
        ...[one.site, one.provider, one.state, one.until],
        `${one.connections ?? '?'}/${one.limits.connections ?? '-'}`,
        ...[one.source, one.id, one.reason, one.reply],
      ]),
    )
  }
  if (holds.length > 0) {
    print('\n')
    printTable(
      ['held back', 'of tenant', 'from', 'until', 'reason', 'reply'],
      holds.map((one) => [
        one.site ?? one.provider,
        one.tenant_id,
        one.domain,
        one.until,
        one.reason,
        one.reply,
      ]),
    )
  }
}
