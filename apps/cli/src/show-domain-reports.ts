/** What others report about a sender domain, for people. */
import type { Operations } from '@valija/client'
import { counted } from './in-commands.ts'
import { note, print, printTable } from './output.ts'

export type DomainReports = Operations['GET /domains/{id}/reports']['answer']

export function printDomainReports({ data, next_cursor, totals: { dmarc, tls } }: DomainReports): void {
  if (dmarc === null && tls === null) return void print('Nobody has reported anything.\n')
  printTable(
    ['day', 'mails', 'passed', 'put aside', 'refused', 'TLS sessions', 'failed'],
    data.map(({ day, dmarc, tls }) => [
      ...[day, dmarc?.messages, dmarc?.passed, dmarc?.dispositions.quarantine, dmarc?.dispositions.reject],
      ...[tls?.sessions, tls?.failed],
    ]),
  )
  for (const { ip, header_from, messages, blocked, meaning, fix } of dmarc?.failing_sources ?? [])
    print(
      `\n${ip ?? 'other addresses'}, From ${header_from ?? '?'}: ${messages} did not pass, ${blocked} of them put aside or refused\n  ${meaning}\n  ${fix}\n`,
    )
  for (const { mx, reason, policy, sessions, meaning, fix } of tls?.failures ?? [])
    print(
      `\n${mx ?? 'TLS'}, ${reason} (${policy}): ${counted(sessions, 'session')} failed\n  ${meaning}\n  ${fix}\n`,
    )
  if (next_cursor !== null) note(`There is more: --all, or --cursor ${next_cursor}`)
}
