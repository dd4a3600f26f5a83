/**
 * BullMQ's events in PostgreSQL, which nobody reads here: five rows for each hint (added, waiting, active, completed, drained), each with an
 * advisory lock, a NOTIFY and a look at a setting. None is recorded: `publish_event` does nothing, and what BullMQ inserts beside it
 * (`add_jobs_bulk`) is dropped by a trigger. What wakes workers is no event: adding notifies `bullmq_jobs`. Without events the processor time of PostgreSQL for a
 * hint is a fifth less: of 16 runs in turn, on a busy machine, 1.54 ms instead of 1.88 one by one, and 1.13 instead of 1.44 by eights.
 *
 * Replaced is only the one `publish_event` that is known to do nothing else. Where an upgrade of BullMQ brings another, that one stays, with
 * its events; a test tells that it is to be looked at.
 */
import type pg from 'pg'

/** SHA-256 of its body in BullMQ's migration `0002_functions`. */
const KNOWN_BODY = 'f14aab58d56fc93af1fb6581ca959d49635cf96d9645318b1b4537794c08c412'

/** A query, so that PostgreSQL puts it in the place of each call and does not even make up what would be in the event. */
const OUR_BODY = ' SELECT 0::bigint '

const TRIGGER = 'valija_drop_event'

/**
 * Idempotent. In a transaction that others of its kind wait for.
 *
 * @param schema BullMQ's, which needs no quotes
 */
export async function dropEvents(client: pg.Client, schema: string): Promise<void> {
  const { rows } = await client.query<{ isKnown: boolean; isOurs: boolean }>(
    `SELECT encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') = $2 AS "isKnown", prosrc = $3 AS "isOurs"
     FROM pg_proc
     WHERE oid = to_regprocedure($1 || '.publish_event(text, text, jsonb)') AND prorettype = 'bigint'::regtype
       AND proargnames = ARRAY['p_queue', 'p_event', 'p_data'] AND pg_has_role(proowner, 'USAGE')`,
    [schema, KNOWN_BODY, OUR_BODY],
  )
  if (rows[0]?.isOurs) return
  await client.query(`DROP TRIGGER IF EXISTS ${TRIGGER} ON ${schema}.event`)
  if (!rows[0]?.isKnown) return
  await client.query(
    `CREATE OR REPLACE FUNCTION ${schema}.publish_event(p_queue text, p_event text, p_data jsonb) RETURNS bigint
       LANGUAGE sql IMMUTABLE PARALLEL SAFE AS '${OUR_BODY}'`,
  )
  await client.query(
    `CREATE OR REPLACE FUNCTION ${schema}.${TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
  )
  await client.query(
    `CREATE TRIGGER ${TRIGGER} BEFORE INSERT ON ${schema}.event FOR EACH ROW EXECUTE FUNCTION ${schema}.${TRIGGER}()`,
  )
  await client.query(`DELETE FROM ${schema}.event`)
}
