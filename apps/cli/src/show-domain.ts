/** A domain and its DNS records for people. */
import type { Domain } from '@valija/client'
import { inCommands } from './in-commands.ts'
import { print, printTable } from './output.ts'

export function printDomain(domain: Domain): void {
  const { id, name, status, vouched, summary, records, notes } = domain
  print(`${name}  ${vouched ? 'vouched' : status}  ${id}\n${inCommands(summary).replaceAll(id, name)}\n`)
  for (const text of notes) print(`${text}\n`)
  print('\n')
  printTable(
    ['purpose', 'needed', 'status', 'type', 'name', 'value'],
    records.map(({ purpose, required, status: seen, type, name: owner, value }) => [
      purpose,
      required,
      seen,
      type,
      owner,
      value,
    ]),
  )
  for (const { purpose, status: seen, name: owner, found, fix } of records.filter(
    ({ fault }) => fault !== null,
  )) {
    print(`\n${purpose} ${owner} is ${seen}: ${inCommands(fix ?? '')}\n`)
    for (const text of found) print(`  found  ${text}\n`)
  }
}
