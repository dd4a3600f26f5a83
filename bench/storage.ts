/** What an installation has on disk: its tables with their indexes, the bodies of mails apart, and its write-ahead log. */
import type { Installation } from './valija.ts'

export interface Storage {
  /** Octets of the log written so far. */
  wal: number
  /** Octets of files of tables, TOAST and indexes. Files grow by whole pages, so a difference means much for many mails only. */
  tables: number
  bodies: number
}

export async function readStorage({ query }: Installation): Promise<Storage> {
  const [row] = await query<Record<keyof Storage, string>>(
    `SELECT pg_current_wal_insert_lsn() - '0/0' AS wal,
       coalesce(sum(size) FILTER (WHERE NOT is_body), 0) AS tables,
       coalesce(sum(size) FILTER (WHERE is_body), 0) AS bodies
     FROM (
       SELECT pg_total_relation_size(c.oid) AS size, c.relname LIKE 'bodies%' AS is_body
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
     ) AS tables`,
  )
  const { wal = '0', tables = '0', bodies = '0' } = row ?? {}
  return { wal: Number(wal), tables: Number(tables), bodies: Number(bodies) }
}

/** By the names that the report shows, for each of so many mails. */
export function storageBetween(before: Storage, after: Storage, mails: number): Record<string, number> {
  return {
    'write-ahead log': (after.wal - before.wal) / mails,
    'tables and indexes': (after.tables - before.tables) / mails,
    bodies: (after.bodies - before.bodies) / mails,
  }
}
