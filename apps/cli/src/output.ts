/** How commands answer: tables for people, JSON for programs. */
import type { Listing, Page } from '@valija/client'
import { type Cell, textFields, textTable } from './text-table.ts'

/** The flag of every command that answers with something. */
export const jsonFlag = { json: { type: 'boolean', help: 'the answer as JSON' } } as const

/** The flags of lists. */
export const listFlags = {
  limit: { type: 'string', value: '<n>', help: 'of a page, up to 100; 25' },
  cursor: { type: 'string', value: '<cursor>', help: 'go on where a list before ended' },
  all: { type: 'boolean', help: 'all pages' },
  ...jsonFlag,
} as const

interface ListFlags {
  limit: string | undefined
  cursor: string | undefined
  all: boolean
  json: boolean
}

/** The query that the flags of a list make. */
export const pageQuery = ({ limit, all }: ListFlags) => {
  const size = limit ?? (all ? '100' : undefined)
  return size === undefined ? {} : { limit: size as unknown as number } // as it was typed: the API says what is wrong with it
}

export const print = (text: string) => void process.stdout.write(text)
/** For people, beside what programs read. */
export const note = (text: string) => void process.stderr.write(`${text}\n`)

export const printJson = (value: unknown) => print(`${JSON.stringify(value, null, 2)}\n`)

/** Not a terminal: nobody's window ends. */
const width = () => (process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY)

export const printTable = (head: readonly string[], rows: readonly (readonly Cell[])[]) =>
  print(textTable(head, rows, width()))

export const printFields = (fields: readonly (readonly [string, Cell])[]) =>
  print(textFields(fields, width()))

/** A page of a list, or all, as a table or as `{data, next_cursor}`. */
export async function printList<T>(
  listing: Listing<T>,
  flags: ListFlags,
  columns: Readonly<Record<string, (entry: T) => Cell>>,
): Promise<void> {
  const { data, next_cursor } = await readPages(listing, flags)
  if (flags.json) return printJson({ data, next_cursor })
  printTable(
    Object.keys(columns),
    data.map((entry) => Object.values(columns).map((column) => column(entry))),
  )
  if (next_cursor !== null) note(`There is more: --all, or --cursor ${next_cursor}`)
}

/** The page that was asked for, or all in one. What else the first one says stays with it. */
export async function readPages<T>(listing: Listing<T>, { cursor, all }: ListFlags): Promise<Page<T>> {
  const page = await listing.page(cursor)
  while (all && page.next_cursor !== null) {
    const next = await listing.page(page.next_cursor)
    page.data.push(...next.data)
    page.next_cursor = next.next_cursor
  }
  return page
}
