/** What a worker does about erasures, and what is kept of an address anywhere in the database, for tests. */
import { createMailLog } from '@valija/core'
import { erasureRounds } from '@valija/flows'
import { decodeBody } from '@valija/store'
import type { TestApi } from '../../open-api.test-support.ts'

/** One round of a worker's; all that can be done at once is done then. */
export async function workOff(api: TestApi): Promise<void> {
  const { foundation } = api
  await foundation.database.engine.query("UPDATE valija.erasures SET next_at = now() - interval '1 s'")
  await erasureRounds({
    ...foundation,
    mailLog: createMailLog(() => undefined),
    isStopped: () => false,
    onError: (error) => {
      throw error
    },
  })()
}

/** Asks for an erasure. */
export const erase = (api: TestApi, email: string, key = api.tenant.key) =>
  api.ask('POST', '/recipients/erase', { key, body: { email } })

/** All rows of a tenant, and those that are nobody's, as texts by table: whatever tables there are, with what is packed in them unpacked. */
export async function dumpOf(api: TestApi, tenantId: string): Promise<Map<string, string>> {
  const { engine } = api.foundation.database
  const { rows: tables } = await engine.query<{ name: string; columns: string[]; bytes: string[] }>(
    `SELECT t.table_name AS name, array_agg(c.column_name::text) AS columns,
       array_remove(array_agg(CASE WHEN c.data_type = 'bytea' THEN c.column_name::text END), NULL) AS bytes
     FROM information_schema.tables AS t JOIN information_schema.columns AS c USING (table_schema, table_name)
     WHERE t.table_schema = 'valija' AND t.table_type = 'BASE TABLE' AND t.table_name <> '_prisma_migrations' GROUP BY 1 ORDER BY 1`,
  )
  const dump = new Map<string, string>()
  for (const { name, columns, bytes } of tables) {
    const owned = columns.includes('tenant_id')
      ? 'WHERE tenant_id = $1 OR tenant_id IS NULL'
      : 'WHERE $1::uuid IS NOT NULL'
    const { rows } = await engine.query<Record<string, unknown>>(
      `SELECT row.*, to_jsonb(row)::text AS all_of_it FROM valija.${name} AS row ${owned}`,
      [tenantId],
    )
    const texts = rows.map((row) => [
      row.all_of_it,
      ...bytes.map((column) => unpacked(`${name}.${column}`, row[column] as Buffer)),
    ])
    dump.set(name, JSON.stringify(texts))
  }
  return dump
}

function unpacked(column: string, octets: Buffer | null): string {
  if (octets === null) return ''
  if (column !== 'bodies.content') return octets.toString('latin1')
  const body = decodeBody(octets)
  return body.kind === 'raw' ? body.bytes.toString('latin1') : JSON.stringify(body)
}

/** The tables in which a word stands. */
export function tablesWith(dump: ReadonlyMap<string, string>, word: string): string[] {
  return [...dump].filter(([, text]) => text.toLowerCase().includes(word.toLowerCase())).map(([name]) => name)
}
