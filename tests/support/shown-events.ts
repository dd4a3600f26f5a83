/**
 * When `GET /events` shows all that is committed.
 *
 * The stream shows an event once no transaction is open that is older than the event's own (packages/store/src/read-events.ts), and one can be open
 * for a moment whatever a test does: PostgreSQL's autovacuum, the product's own timers, or, where it ends between the
 * statement's snapshot and its look at who is connected, one of another database of the cluster.
 */
import { until } from './until.ts'

const sql = `SELECT coalesce((SELECT transaction FROM valija.events ORDER BY transaction DESC LIMIT 1)
  < pg_snapshot_xmin(pg_current_snapshot()), true) AS "areShown"`

/** Waits until every event that is committed by now is shown, and stays so. Not for tests that hold a transaction open themselves. */
export async function untilShown(query: (sql: string) => Promise<{ areShown: boolean }[]>): Promise<void> {
  await until('the end of older transactions', async () => (await query(sql))[0]?.areShown)
}
