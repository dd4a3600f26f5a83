/**
 * A database with a history, as an installation has it after some weeks: many tenants, one of them much larger than the others, mails of
 * twenty days with their events and attempts, some of them still waiting, and endpoints that have much to be told. Written by SQL alone, in the
 * order of time, as mails come.
 */
import { createSealer } from '@valija/core'
import { digestNewMessages, encodeBody, findTenantsToDigest, openDatabase } from '@valija/store'
import pg from 'pg'
import { SECRET_KEY } from './valija.ts'

export type History = {
  /** More than half of everything is its. It has a vouched domain `big.test`. */
  bigTenant: string
  /** Of the big tenant, as the API writes them: one of the oldest day, ended; one that waits; one of today. */
  messages: { old: string; waiting: string; today: string }
  counts: Record<string, number>
}

const days = 20
const tenants = 40

const partitioned = ['messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries']

/** The days before today have no partitions in a new database, unless midnight has passed since it was made. */
const pastDaysSql = `
DO $$ DECLARE parent text; day timestamptz; BEGIN
  FOREACH parent IN ARRAY ARRAY['${partitioned.join("','")}'] LOOP
    FOR n IN 1..${days + 1} LOOP
      day := (date_trunc('day', now() AT TIME ZONE 'UTC') - make_interval(days => n)) AT TIME ZONE 'UTC';
      EXECUTE format('CREATE TABLE IF NOT EXISTS valija_parts.%I PARTITION OF valija.%I FOR VALUES FROM (%L) TO (%L)',
        parent || '_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD'), parent, valija.lowest_uuid(day), valija.lowest_uuid(day + interval '1 day'));
    END LOOP;
  END LOOP;
END $$`

/** What nobody opens, and has the mark of the processes' key: they refuse to start on what another one has sealed. */
const sealedByUs = createSealer([SECRET_KEY]).seal(Buffer.alloc(0), 'nobody').toString('hex')

/** Of an attempt, as GET /messages/:id/attempts shows it. */
const report = JSON.stringify({
  ...{
    route: 'smarthost',
    host: 'relay.test',
    ip: '192.0.2.1',
    port: 25,
    source_ip: null,
    tls: null,
    phase: 'data',
  },
  ...{
    reply: '250 2.0.0 taken',
    enhanced_status: '2.0.0',
    uncertain: false,
    duration_ms: 10,
    transcript: [],
  },
  timings_ms: { dns: 0, connect: 1, tls: 0, ehlo: 1, envelope: 1, data: 1, total: 4 },
})

/**
 * Six in ten rows are the first tenant's; half of the mails have not ended. One in fifty went to two recipients and was delivered to both; of
 * those that bounced some of the oldest had one to whom they were delivered, so that whoever looks for them comes by nearly all that bounced.
 */
const seedSql = `
CREATE UNLOGGED TABLE public.seed AS
SELECT n, uuidv7(-age) AS id, uuidv7(-age) AS recipient_id, uuidv7(-age) AS other_id, now() - age AS at, n % 2 = 0 AS is_waiting,
  n % 40 = 1 AS is_bounced, n % 50 = 3 OR (n % 400 = 1 AND n <= $1 / 10) AS has_other,
  CASE WHEN n % 10 < 6 THEN (SELECT id FROM valija.tenants ORDER BY id LIMIT 1)
       ELSE (SELECT id FROM valija.tenants ORDER BY id OFFSET 1 + n % ${tenants - 1} LIMIT 1) END AS tenant_id
FROM (SELECT n, (1 - n / $1::float8) * ${days} * interval '1 day' AS age FROM generate_series(1, $1) AS n) AS made`

const statements = (count: number): string[] => [
  `INSERT INTO valija.tenants (id, name) SELECT uuidv7(), 'tenant ' || n FROM generate_series(1, ${tenants}) AS n`,
  pastDaysSql,
  seedSql.replaceAll('$1', `${count}`),
  `INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags, metadata,
     expires_at, rfc_message_id, is_simulated, recipient_count)
   SELECT id, tenant_id, at, CASE n % 3 WHEN 0 THEN 'bulk' ELSE 'transactional' END, 'smarthost', 'hi@big.test', 'hi@big.test', 'big.test',
     'Order ' || n, ARRAY['tag' || n % 50], jsonb_build_object('order', n::text), at + interval '30 d', '<' || id || '@big.test>', false,
     CASE WHEN has_other THEN 2 ELSE 1 END FROM seed`,
  `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, reason, reply, attempts,
     next_attempt_at, delivered_at, size_bytes, seq)
   SELECT recipient_id, id, tenant_id, 0, 'u' || n % 5000 || '@d' || n % 300 || '.test', 'u' || n % 5000 || '@d' || n % 300 || '.test', 'd' || n % 300 || '.test', 'to',
     CASE WHEN is_waiting THEN 'deferred' WHEN is_bounced THEN 'bounced' ELSE 'delivered' END,
     CASE WHEN is_waiting THEN 'greylisted' WHEN is_bounced THEN 'mailbox_unknown' END, '250 2.0.0 taken',
     1, CASE WHEN is_waiting THEN now() + interval '1 h' END, CASE WHEN NOT is_waiting AND NOT is_bounced THEN at END, 10000, 3 FROM seed`,
  `INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, attempts, delivered_at, size_bytes, seq)
   SELECT other_id, id, tenant_id, 1, 'copy@big.test', 'copy@big.test', 'big.test', 'cc', 'delivered', 1, at, 10000, 2 FROM seed WHERE has_other`,
  `INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data)
   SELECT uuidv7(at - now()), tenant_id, kind, id, at, jsonb_build_object('message_id', 'msg_' || replace(id::text, '-', ''), 'seq', 1)
   FROM seed, unnest(ARRAY['message.accepted',
     CASE WHEN is_waiting THEN 'message.deferred' WHEN is_bounced THEN 'message.bounced' ELSE 'message.delivered' END]) AS kind`,
  `INSERT INTO valija.attempts (id, message_id, recipient_id, tenant_id, number, outcome, started_at, report)
   SELECT uuidv7(at - now()), id, recipient_id, tenant_id, 1, 'delivered', at, '${report}' FROM seed`,
  `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at)
   SELECT recipient_id, id, tenant_id, CASE n % 3 WHEN 0 THEN 'bulk' ELSE 'transactional' END, 'smarthost', 'd' || n % 300 || '.test', 'waiting',
     now() + interval '1 h' + n % 3600 * interval '1 s', now() + interval '10 d' FROM seed WHERE is_waiting`,
  `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason)
   SELECT uuidv7(), tenant_id, 's' || n || '@d1.test', 's' || n || '@d1.test', 'mailbox_unknown' FROM seed WHERE n % 10 = 1`,
  `INSERT INTO valija.mailbox_faults (recipient_id, tenant_id, email_key, provider, reason, at)
   SELECT recipient_id, tenant_id, 's' || n || '@d1.test', 'd' || n % 300 || '.test', 'mailbox_unknown', now() - random() * interval '10 d' FROM seed WHERE n % 10 = 1`,
  `INSERT INTO valija.idempotency_keys (tenant_id, key, body_hash, message_id, response, expires_at)
   SELECT tenant_id, 'key-' || n, '\\x00', id, '{}', now() + random() * interval '20 h' FROM seed WHERE n % 5 = 2`,
  // Ten endpoints have not answered for a while: nothing of theirs is due within the hour.
  `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret, failing_since)
   SELECT uuidv7(), (SELECT id FROM valija.tenants ORDER BY id OFFSET n LIMIT 1), 'http://127.0.0.1:9/', '{*}', '\\x${sealedByUs}', now() FROM generate_series(1, 10) AS n`,
  `INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at, tries)
   SELECT w.id, uuidv7(), w.tenant_id, now() + interval '2 h', 1 FROM valija.webhooks AS w, generate_series(1, ${Math.ceil(count / 100)})`,
  `INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, started_at, duration_ms)
   SELECT uuidv7(), w.tenant_id, w.id, uuidv7(), 'message.delivered', 1, 'failed', now(), 10 FROM valija.webhooks AS w, generate_series(1, ${Math.ceil(count / 100)})`,
  `INSERT INTO valija.inbox (id, tenant_id, message_id, received_at, mail_from, rcpt_to, rcpt_keys, from_header, to_header, subject, raw)
   SELECT uuidv7(), tenant_id, id, now(), '', '{u@b.test}', '{u@b.test}', '', '', 'Order', '\\x00' FROM seed WHERE n % 50 = 3`,
  `INSERT INTO valija.domains (id, tenant_id, name, status, is_vouched, token)
   SELECT uuidv7(), id, 'big.test', 'verified', true, 'x' FROM valija.tenants ORDER BY id LIMIT 1`,
]

/** One body for all: nobody reads them but the worker and GET /messages/:id/raw. */
const bodiesSql =
  'INSERT INTO valija.bodies (message_id, tenant_id, content) SELECT id, tenant_id, $1 FROM seed WHERE n % 10 < 2'

export async function writeHistory(databaseUrl: string, messages: number): Promise<History> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    options: '-c auto_explain.log_min_duration=-1',
  })
  await client.connect()
  try {
    await client.query('SET synchronous_commit = off')
    for (const statement of statements(messages)) await client.query(statement)
    await client.query(bodiesSql, [
      encodeBody({ kind: 'raw', bytes: Buffer.from('Subject: x\r\n\r\nx\r\n'), needsSmtpUtf8: false }),
    ])
    const pick = async (condition: string) =>
      (
        await client.query<{ id: string }>(
          `SELECT 'msg_' || replace(id::text, '-', '') AS id FROM seed
           WHERE tenant_id = (SELECT id FROM valija.tenants ORDER BY id LIMIT 1) AND ${condition} LIMIT 1`,
        )
      ).rows[0]!.id
    const picked = {
      old: await pick('NOT is_waiting ORDER BY at'),
      waiting: await pick('is_waiting'),
      today: await pick('NOT is_waiting AND n % 10 = 1 ORDER BY at DESC'),
    }
    const { rows } = await client.query(
      `SELECT 'ten_' || replace(id::text, '-', '') AS id FROM valija.tenants ORDER BY tenants.id LIMIT 1`,
    )
    await client.query('DROP TABLE seed')
    // What autovacuum does by itself after so many rows.
    await client.query('VACUUM ANALYZE')
    const counts = await client.query<{ name: string; count: number }>(
      `SELECT relname AS name, n_live_tup::int AS count FROM pg_stat_user_tables WHERE schemaname IN ('valija', 'valija_parts')`,
    )
    return {
      bigTenant: rows[0].id,
      messages: picked,
      counts: Object.fromEntries(counts.rows.map(({ name, count }) => [name, count])),
    }
  } finally {
    await client.end()
  }
}

/** Of a database with auto_explain: without its plans, which take time. */
export function unexplained(databaseUrl: string): string {
  const url = new URL(databaseUrl)
  url.searchParams.set('options', '-c auto_explain.log_min_duration=-1')
  return url.href
}

/** What workers do by and by, done before anybody searches. */
export async function digestHistory(databaseUrl: string): Promise<void> {
  const database = openDatabase({
    url: unexplained(databaseUrl),
    onError: (error) => {
      throw error
    },
  })
  const { tenantIds } = await findTenantsToDigest(database.engine, null)
  for (const tenantId of tenantIds) while (await digestNewMessages(database, tenantId));
  await database.close()
}
