/**
 * A suppression list that comes as a table (POST /suppressions/import): read piece by piece and written in batches, each with its
 * events in one commit. What is wrong with a line is told, and the others are kept. Sent again it changes nothing more, so a
 * connection that was lost is no harm.
 */
import {
  type Caller,
  CsvReader,
  invalidRequest,
  ProductError,
  type Stream,
  type SuppressionReason,
  streams,
  suppressionReasons,
  unguardCell,
} from '@valija/core'
import { parseAddress } from '@valija/mail'
import { countUnsuppressed, insertSuppressions, type ListedAddress } from '@valija/store'
import type { SuppressionDesk } from './manage-suppressions.ts'

export interface ImportOptions {
  /** Nothing is written: only told what would be. */
  dryRun: boolean
  /** Of every line, whatever its own column says. */
  stream?: Stream
  reason?: SuppressionReason
  maxBytes: number
}

export interface ImportFault {
  /** Of the file, from 1. */
  line: number
  column: string | null
  message: string
}

export interface ImportReport {
  dry_run: boolean
  /** Lines with content, without the first. */
  rows: number
  added: number
  /** They were suppressed already, or stand in the file twice. */
  present: number
  /** Their status says that they stop nothing. */
  skipped: number
  rejected: number
  errors: ImportFault[]
  ignored_columns: string[]
}

type Column = 'email' | 'stream' | 'reason' | 'status'

/** What other services call the columns, in lower case, letters only. */
const columnNames: Record<string, Column> = {
  email: 'email',
  emailaddress: 'email',
  address: 'email',
  recipient: 'email',
  stream: 'stream',
  messagestream: 'stream',
  reason: 'reason',
  suppressionreason: 'reason',
  status: 'status',
}

/** What other services call the reasons, in lower case, letters only. */
const reasonNames = new Map<string, SuppressionReason>([
  ...suppressionReasons.map((reason): [string, SuppressionReason] => [bare(reason), reason]),
  ...['bounce', 'hardbounce', 'permanent', 'invalid', 'bounced'].map((name): [string, SuppressionReason] => [
    name,
    'mailbox_unknown',
  ]),
  ...['spamcomplaint', 'spam', 'spamreport', 'complained', 'abuse'].map(
    (name): [string, SuppressionReason] => [name, 'complaint'],
  ),
  ...['unsubscribed', 'optout'].map((name): [string, SuppressionReason] => [name, 'unsubscribe']),
  ['manualsuppression', 'manual'],
])

/** Rows in one commit: some 50 ms. */
const batchRows = 1_000
const maxFaults = 1_000
/** What the decoder makes of octets that are none. */
const notUtf8 = '\ufffd'

/** @throws {ProductError} invalid_request for a table without addresses, message_too_large */
export async function importSuppressions(
  desk: SuppressionDesk,
  caller: Caller,
  pieces: AsyncIterable<Buffer>,
  options: ImportOptions,
): Promise<ImportReport> {
  const report: ImportReport = {
    dry_run: options.dryRun,
    rows: 0,
    added: 0,
    present: 0,
    skipped: 0,
    rejected: 0,
    errors: [],
    ignored_columns: [],
  }
  let columns: (Column | null)[] | null = null
  let batch = new Map<string, ListedAddress>()
  const write = async () => {
    const addresses = [...batch.values()]
    batch = new Map()
    if (addresses.length === 0) return
    const added = await keep(desk, caller, addresses, options)
    report.added += added
    report.present += addresses.length - added
  }
  for await (const row of rowsOf(pieces, options.maxBytes)) {
    if (columns === null) {
      columns = readColumns(row, report)
      continue
    }
    report.rows += 1
    const read = readRow(row, columns, options)
    if ('message' in read) {
      report.rejected += 1
      if (report.errors.length < maxFaults) report.errors.push(read)
    } else if (read.address === null) {
      report.skipped += 1
    } else {
      const name = `${read.address.emailKey} ${read.address.stream}`
      if (batch.has(name)) report.present += 1
      else batch.set(name, read.address)
      if (batch.size >= batchRows) await write()
    }
  }
  if (columns === null)
    throw invalidRequest([{ path: '', message: 'The file is empty. Begin it with a line of column names.' }])
  await write()
  return report
}

async function keep(
  { database, wake }: SuppressionDesk,
  { tenantId }: Caller,
  addresses: readonly ListedAddress[],
  { dryRun }: ImportOptions,
): Promise<number> {
  if (dryRun) return countUnsuppressed(database, tenantId, addresses)
  const { added, hasWebhooks } = await insertSuppressions(database, tenantId, addresses)
  if (hasWebhooks) wake.send('webhooks')
  return added
}

type Row = { line: number; cells: string[] } | { line: number; fault: string }

async function* rowsOf(pieces: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Row> {
  const reader = new CsvReader()
  const decoder = new TextDecoder()
  let bytes = 0
  for await (const piece of pieces) {
    bytes += piece.length
    if (bytes > maxBytes) {
      const detail = `The file is longer than ${maxBytes} octets. What was read until there was kept; send the rest in parts.`
      throw new ProductError('message_too_large', { detail })
    }
    yield* reader.read(decoder.decode(piece, { stream: true }))
  }
  yield* reader.read(decoder.decode())
  yield* reader.end()
}

function readColumns(row: Row, report: ImportReport): (Column | null)[] {
  const refuse = (message: string) => invalidRequest([{ path: '', message: `Line ${row.line}: ${message}` }])
  if ('fault' in row) throw refuse(row.fault)
  const columns = row.cells.map((cell) => columnNames[bare(cell)] ?? null)
  const twice = columns.find((column, i) => column !== null && columns.indexOf(column) !== i)
  if (twice) throw refuse(`There are two columns for "${twice}". Leave one out.`)
  if (!columns.includes('email')) {
    throw refuse(
      'There is no column "email". Begin the file with a line of column names, such as email,stream,reason.',
    )
  }
  report.ignored_columns = row.cells.filter((_, i) => columns[i] === null).map((name) => name.trim())
  return columns
}

function readRow(
  row: Row,
  columns: readonly (Column | null)[],
  options: ImportOptions,
): ImportFault | { address: ListedAddress | null } {
  const { line } = row
  const fault = (column: Column | null, message: string): ImportFault => ({ line, column, message })
  if ('fault' in row) return fault(null, row.fault)
  const cellOf = (column: Column) => unguardCell(row.cells[columns.indexOf(column)] ?? '').trim()
  const status = bare(cellOf('status'))
  if (status === 'quarantined' || status === 'removed') return { address: null }
  const email = cellOf('email')
  if (email.includes(notUtf8))
    return fault('email', 'Holds octets that are not UTF-8. Save the file as UTF-8.')
  const address = parseAddress(email)
  if (!address.ok) return fault('email', address.message)
  const stream = options.stream ?? readStream(cellOf('stream'))
  if (stream === undefined) {
    return fault('stream', `Is none of ${streams.join(', ')}. Leave it empty for both.`)
  }
  const reason = options.reason ?? readReason(cellOf('reason'))
  if (reason === undefined) {
    return fault(
      'reason',
      `Is none of ${suppressionReasons.join(', ')}. Leave it empty for manual, or give ?reason= for all.`,
    )
  }
  const { key, domain } = address.value
  return { address: { email: address.value.email, emailKey: `${key}@${domain}`, stream, reason } }
}

function readStream(text: string): Stream | null | undefined {
  const name = bare(text)
  if (name === '' || name === 'both' || name === 'null') return null
  return streams.find((stream) => stream === name)
}

function readReason(text: string): SuppressionReason | undefined {
  return text === '' ? 'manual' : reasonNames.get(bare(text))
}

function bare(name: string): string {
  return name.toLowerCase().replace(/[^a-z]/g, '')
}
