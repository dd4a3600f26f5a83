/** `valija suppression …`: the addresses that are not sent to. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { text as readText } from 'node:stream/consumers'
import type { Input, Suppression, SuppressionImport, SuppressionUndo, Valija } from '@valija/client'
import { apiFlags, openApi } from '../api-client.ts'
import { type Command, command, FaultsFound, UsageError } from '../command.ts'
import { given, need } from '../flag-values.ts'
import { counted, inCommands } from '../in-commands.ts'
import { jsonFlag, listFlags, note, pageQuery, print, printFields, printJson, printList } from '../output.ts'

type Query = Input<'GET /suppressions'>['query']

const reason = {
  type: 'string',
  value: '<reason>',
  help: 'manual, complaint, unsubscribe, mailbox_unknown, mailbox_disabled or mailbox_full',
} as const
const stream = (help: string) => ({ type: 'string', value: '<stream>', help }) as const
const status = { type: 'string', value: '<status>', help: 'active, quarantined or removed' } as const

export const suppressionCommands: readonly Command[] = [
  command({
    name: 'suppression list',
    summary: 'addresses that are not sent to, newest first',
    flags: {
      email: { type: 'string', value: '<address>', help: 'this address' },
      reason,
      status,
      stream: stream('what holds for this stream: transactional or bulk'),
      ...apiFlags,
      ...listFlags,
    },
    example: 'suppression list --reason complaint',
    run: async ({ flags }) => {
      const { email, reason, status, stream } = flags
      const query = { ...given({ email, reason, status, stream }), ...pageQuery(flags) } as Query
      const api = await openApi(flags)
      await printList(api.list('GET /suppressions', { query }), flags, {
        id: ({ id }) => id,
        since: ({ created_at }) => created_at,
        email: ({ email }) => email,
        stream: ({ stream }) => stream ?? 'both',
        status: ({ status }) => status,
        reason: ({ reason }) => reason,
        reply: ({ reply }) => reply,
      })
    },
  }),
  command({
    name: 'suppression add',
    args: '<address>…',
    summary: 'mail to an address is stopped, also what waits already',
    details: 'None is added while one of them is no address.',
    flags: {
      stream: stream('only transactional, or only bulk; both'),
      ...apiFlags,
      ...jsonFlag,
    },
    example: 'suppression add ann@example.org',
    run: async ({ args, flags }) => {
      const api = await openApi(flags)
      const stream = flags.stream as Suppression['stream'] | undefined
      await checkAddresses(args)
      for (const email of args) {
        const body = { email, ...given({ stream }) }
        const made = await api.request('POST /suppressions', { body })
        if (flags.json) printJson(made)
        else print(`${made.id}  ${made.email}  ${made.stream ?? 'both streams'}\n`)
      }
    },
  }),
  command({
    name: 'suppression remove',
    args: '<address>…',
    summary: 'an address, or an entry by its id, is taken off the list, and sent to again',
    flags: { stream: stream('only its entry for this stream; all'), ...apiFlags },
    example: 'suppression remove ann@example.org',
    run: async ({ args, flags }) => {
      const api = await openApi(flags)
      for (const one of args)
        for (const { id, email } of await findEntries(api, one, flags.stream)) {
          await api.request('DELETE /suppressions/{id}', { path: { id } })
          print(`removed  ${id}  ${email}\n`)
        }
    },
  }),
  command({
    name: 'suppression confirm',
    args: '<address>…',
    summary: 'what was held back (quarantined) of an address, or an entry by its id, is in force',
    flags: { ...apiFlags, ...jsonFlag },
    example: 'suppression confirm ann@example.org',
    run: async ({ args, flags }) => {
      const api = await openApi(flags)
      for (const one of args)
        for (const { id } of await findEntries(api, one)) {
          const entry = await api.request('PATCH /suppressions/{id}', {
            path: { id },
            body: { status: 'active' },
          })
          if (flags.json) printJson(entry)
          else print(`${entry.status}  ${id}  ${entry.email}\n`)
        }
    },
  }),
  command({
    name: 'suppression undo',
    summary: 'takes back together what servers wrongly said of mailboxes in a time',
    details: 'What people said (manual, complaint, unsubscribe) is never among it.',
    flags: {
      provider: { type: 'string', value: '<provider>', help: 'whose servers said so, as entries name it' },
      domain: { type: 'string', value: '<domain>', help: 'of the addresses; this, or --provider, or both' },
      reason: { ...reason, help: 'mailbox_unknown, mailbox_disabled or mailbox_full; all three' },
      after: { type: 'string', value: '<time>', help: 'entries that were added at or after' },
      before: { type: 'string', value: '<time>', help: 'and before; now' },
      'dry-run': { type: 'boolean', help: 'changes nothing, and tells how many there are' },
      ...apiFlags,
      ...jsonFlag,
    },
    example:
      'suppression undo --provider microsoft --after 2026-11-24T08:00:00Z --before 2026-11-24T12:00:00Z --dry-run',
    run: async ({ flags }) => {
      const { provider, domain, reason, after, before, 'dry-run': isDry } = flags
      const body = {
        after: need('after', after),
        ...given({ provider, domain, reason, before }),
        dry_run: isDry,
      } as SuppressionUndo
      const made = await (await openApi(flags)).request('POST /suppressions/undo', {
        body,
        timeoutMs: 120_000,
      })
      if (flags.json) return printJson(made)
      print(`${counted(made.count, 'entry', 'entries')} ${made.dry_run ? 'would be removed' : 'removed'}\n`)
      if (made.more) note('There is more: ask again.')
    },
  }),
  command({
    name: 'suppression import',
    args: '<file>',
    summary: 'a CSV file of addresses, of ours or as other services export it; - for standard input',
    details:
      'Its first line names the columns: email, and if wanted stream, reason and status. Lines with a fault are told, with exit code 1, and the others are kept; once more it changes nothing.',
    flags: {
      'dry-run': { type: 'boolean', help: 'writes nothing, and tells what would be' },
      reason: { ...reason, help: 'of all lines, whatever the file says' },
      stream: stream('of all lines, whatever the file says'),
      ...apiFlags,
      ...jsonFlag,
    },
    example: 'suppression import suppressions.csv --dry-run',
    run: async ({ args: [file = ''], flags }) => {
      const body = file === '-' ? await readText(process.stdin) : await readFile(file, 'utf8')
      const { reason, stream, 'dry-run': isDry } = flags
      const query = {
        ...given({ reason, stream }),
        ...(isDry && { dry_run: true }),
      } as Input<'POST /suppressions/import'>['query']
      const api = await openApi(flags)
      const result = await api.request('POST /suppressions/import', { body, query, timeoutMs: 120_000 })
      if (result.rejected > 0) process.exitCode = 1
      if (flags.json) printJson(result)
      else showImport(result)
    },
  }),
  command({
    name: 'suppression export',
    args: '[file]',
    summary: 'the list as CSV, newest first, to a file or standard output',
    flags: {
      reason,
      status,
      stream: stream('what holds for this stream: transactional or bulk'),
      ...apiFlags,
    },
    example: 'suppression export suppressions.csv',
    run: async ({ args: [file], flags }) => {
      const { reason, status, stream } = flags
      const query = given({ reason, status, stream }) as Input<'GET /suppressions/export'>['query']
      const api = await openApi(flags)
      const table = await api.request('GET /suppressions/export', { query, timeoutMs: 120_000 })
      if (file === undefined) return print(table)
      await writeFile(file, table).catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? new Error(`There is no folder ${path.dirname(file)}.`) : error
      })
      note(`written  ${file}`)
    },
  }),
]

/** @throws {FaultsFound} by each that is none */
async function checkAddresses(addresses: readonly string[]): Promise<void> {
  const { parseAddress } = await import('@valija/mail')
  const faults = addresses.flatMap((one) => {
    const read = parseAddress(one)
    return read.ok ? [] : [{ path: one, message: read.message }]
  })
  if (faults.length > 0) throw new FaultsFound(faults)
}

/** Entries of an address, or the one of an id. */
async function findEntries(
  api: Valija,
  wanted: string,
  stream?: string,
): Promise<{ id: string; email: string }[]> {
  if (/^sup_[0-9a-f]{32}$/.test(wanted))
    return [await api.request('GET /suppressions/{id}', { path: { id: wanted } })]
  if (wanted.startsWith('sup_') && !wanted.includes('@'))
    throw new UsageError(
      `"${wanted}" is no id of an entry: it looks like sup_0192f0c1a2b37c4d8e5f60718293a4b5.`,
    )
  const entries = await api.list('GET /suppressions', { query: { email: wanted, limit: 100 } }).toArray()
  const found = entries.filter((entry) => stream === undefined || entry.stream === stream)
  if (found.length > 0) return found
  const others = entries.map((entry) => entry.stream ?? 'both streams')
  const where = others.length === 0 ? '' : ` for ${stream}: only for ${others.join(' and ')}`
  throw new Error(`${wanted} is not on the list${where}.`)
}

function showImport({
  dry_run,
  rows,
  added,
  present,
  skipped,
  rejected,
  errors,
  ignored_columns,
}: SuppressionImport): void {
  printFields([
    ['lines', rows],
    [dry_run ? 'would be added' : 'added', added],
    ['on the list already', present],
    ['that stop nothing', skipped],
    ['with a fault', rejected],
    ...(ignored_columns.length > 0 ? [['columns not read', ignored_columns.join(' ')] as const] : []),
  ])
  for (const { line, column, message } of errors)
    note(`line ${line}${column === null ? '' : `, ${column}`}: ${inCommands(message)}`)
}
