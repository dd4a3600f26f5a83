/**
 * Indexes of tables that are cut into days: PostgreSQL cannot build one CONCURRENTLY on all of them, and built on the whole table it keeps all
 * of them from being written until the last is ready. So each day gets its own, beside those who write it, and is attached.
 */
import type pg from 'pg'

/** As the first words of a migration's statement: `CREATE INDEX name ON ONLY table (…)`. */
const onDays = /^(?:\s*--.*\n|\s)*CREATE INDEX (?<name>\w+) ON ONLY valija\.(?<table>\w+) (?<rest>\([\s\S]*)$/

interface Day {
  day: string
  isEmpty: boolean
}

/**
 * Does such a statement; can be repeated after whatever ended it.
 *
 * @returns whether it was one
 * @throws what PostgreSQL throws; 55P03 where a moment's lock was not to be had
 */
export async function buildOnDays(
  client: pg.ClientBase,
  statement: string,
  lockTimeout: string,
): Promise<boolean> {
  const { name, table, rest } = onDays.exec(statement)?.groups ?? {}
  if (name === undefined || table === undefined || rest === undefined) return false
  const briefly = (sql: string) =>
    client.query(`BEGIN; SET LOCAL lock_timeout = '${lockTimeout}'; ${sql}; COMMIT`)
  await briefly(`CREATE INDEX IF NOT EXISTS ${name} ON ONLY valija.${table} ${rest}`)
  const { rows } = await client.query<Day>(
    `SELECT c.relname AS day, pg_relation_size(c.oid) = 0 AS "isEmpty"
     FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = $1::regclass AND NOT EXISTS (
       SELECT FROM pg_index AS x JOIN pg_inherits AS attached ON attached.inhrelid = x.indexrelid
       WHERE x.indrelid = c.oid AND attached.inhparent = $2::regclass)
     ORDER BY c.relname`,
    [`valija.${table}`, `valija.${name}`],
  )
  for (const { day, isEmpty } of rows) {
    const own = `${day}_${name}`
    await client.query(`DROP INDEX CONCURRENTLY IF EXISTS valija_parts.${own}`)
    const create = (how: string) => `CREATE INDEX ${how} ${own} ON valija_parts.${day} ${rest}`
    await (isEmpty ? briefly(create('')) : client.query(create('CONCURRENTLY')))
    await briefly(`ALTER INDEX valija.${name} ATTACH PARTITION valija_parts.${own}`)
  }
  return true
}
