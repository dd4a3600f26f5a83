-- Valija's tables (docs/ARCHITECTURE.md, "Tables").
--
-- Two kinds: management tables, which Prisma knows and reads, and the tables on the way of a mail, which are written by
-- hand-made SQL. Messages and what belongs to them are cut into one partition per day by the time in their UUIDv7, so
-- that retention drops tables instead of deleting rows; what is live stands in small unpartitioned tables.

CREATE SCHEMA IF NOT EXISTS valija;
CREATE SCHEMA IF NOT EXISTS valija_parts;

-- Two roles that the processes' connections take on (SET ROLE): the engine sees all tenants, a tenant's own requests see
-- only that tenant, whatever the query says. Roles belong to the cluster, so another database may have made them already.
DO $$
DECLARE role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY['valija_engine', 'valija_tenant'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    -- Whoever makes a role is a member of it, but may not take it on (PostgreSQL 16).
    IF NOT pg_has_role(current_user, role_name, 'SET') THEN
      EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION valija.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT nullif(current_setting('valija.tenant', true), '')::uuid $$;

-- The smallest UUIDv7 of a time: the bound of a partition and of a range of ids.
CREATE FUNCTION valija.lowest_uuid(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

-- No transaction below this can still write an event: what readers of the stream may see (DESIGN 4.13). Transactions of other
-- databases in the cluster count only where the owner of this function may not see whose they are.
CREATE FUNCTION valija.event_horizon() RETURNS xid8 LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(min(open.xid), pg_snapshot_xmax(pg_current_snapshot()))
  FROM pg_snapshot_xip(pg_current_snapshot()) AS open (xid)
  WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity AS other
    WHERE other.backend_xid::text::bigint = open.xid::text::bigint % 4294967296 AND other.datname <> current_database())
$$;

-- Management ----------------------------------------------------------------------------------------------------------

CREATE TABLE valija.instance (
  name text NOT NULL,
  value text NOT NULL,
  CONSTRAINT instance_pkey PRIMARY KEY (name)
);

CREATE TABLE valija.tenants (
  id uuid NOT NULL,
  name text NOT NULL,
  weight integer NOT NULL DEFAULT 1,
  limits jsonb NOT NULL DEFAULT '{}',
  is_default boolean NOT NULL DEFAULT false,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT tenants_pkey PRIMARY KEY (id),
  CONSTRAINT tenants_weight_check CHECK (weight BETWEEN 1 AND 1000)
);
CREATE UNIQUE INDEX tenants_name_key ON valija.tenants (name);

CREATE TABLE valija.api_keys (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  hash bytea NOT NULL,
  hint text NOT NULL,
  scopes text[] NOT NULL,
  domains text[] NOT NULL DEFAULT '{}',
  networks text[] NOT NULL DEFAULT '{}',
  route text,
  recipients text[] NOT NULL DEFAULT '{}',
  expires_at timestamptz(3),
  revoked_at timestamptz(3),
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT api_keys_pkey PRIMARY KEY (id),
  CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX api_keys_hash_key ON valija.api_keys (hash);
CREATE INDEX api_keys_tenant_id_id_idx ON valija.api_keys (tenant_id, id);

CREATE TABLE valija.domains (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'pending',
  is_vouched boolean NOT NULL DEFAULT false,
  signs_dkim boolean NOT NULL DEFAULT false,
  token text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT domains_pkey PRIMARY KEY (id),
  CONSTRAINT domains_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT domains_status_check CHECK (status IN ('pending', 'verified', 'failed'))
);
CREATE UNIQUE INDEX domains_tenant_id_name_key ON valija.domains (tenant_id, name);
CREATE INDEX domains_name_idx ON valija.domains (name);

CREATE TABLE valija.webhooks (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  url text NOT NULL,
  events text[] NOT NULL,
  domains text[] NOT NULL DEFAULT '{}',
  tags text[] NOT NULL DEFAULT '{}',
  -- Sealed with SECRET_KEY for this tenant and webhook (packages/core/src/seal.ts).
  secret bytea NOT NULL,
  status text NOT NULL DEFAULT 'enabled',
  disabled_reason text,
  -- Since when no try has succeeded; null while the last one did.
  failing_since timestamptz(3),
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT webhooks_pkey PRIMARY KEY (id),
  CONSTRAINT webhooks_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT webhooks_status_check CHECK (status IN ('enabled', 'disabled'))
);
CREATE INDEX webhooks_tenant_id_id_idx ON valija.webhooks (tenant_id, id);

-- The way of a mail ---------------------------------------------------------------------------------------------------

CREATE TABLE valija.messages (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  created_at timestamptz(3) NOT NULL,
  stream text NOT NULL,
  delivery text NOT NULL,
  -- As shown (`Acme <hi@acme.test>`), and its address and domain in canonical form.
  from_header text NOT NULL,
  from_email text NOT NULL,
  from_domain text NOT NULL,
  subject text NOT NULL,
  tags text[] NOT NULL,
  metadata jsonb NOT NULL,
  send_at timestamptz(3),
  expires_at timestamptz(3) NOT NULL,
  rfc_message_id text NOT NULL,
  is_simulated boolean NOT NULL,
  recipient_count integer NOT NULL,
  CONSTRAINT messages_pkey PRIMARY KEY (id),
  CONSTRAINT messages_stream_check CHECK (stream IN ('transactional', 'bulk'))
) PARTITION BY RANGE (id);
CREATE INDEX messages_tenant_idx ON valija.messages (tenant_id, id);

-- What was asked to be sent, once per message (packages/store/src/body-codec.ts). Already compressed: no second try by TOAST.
CREATE TABLE valija.bodies (
  message_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  content bytea NOT NULL,
  CONSTRAINT bodies_pkey PRIMARY KEY (message_id)
) PARTITION BY RANGE (message_id);
ALTER TABLE valija.bodies ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE valija.recipients (
  id uuid NOT NULL,
  message_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  ordinal integer NOT NULL,
  email text NOT NULL,
  -- The address with its local part in lower case: what look-ups and doubles go by.
  email_key text NOT NULL,
  domain text NOT NULL,
  type text NOT NULL,
  status text NOT NULL,
  reason text,
  reply text,
  enhanced_status text,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz(3),
  delivered_at timestamptz(3),
  size_bytes integer,
  -- The number of this recipient's last event.
  seq integer NOT NULL,
  CONSTRAINT recipients_pkey PRIMARY KEY (id),
  CONSTRAINT recipients_type_check CHECK (type IN ('to', 'cc', 'bcc')),
  CONSTRAINT recipients_status_check CHECK (status IN ('scheduled', 'queued', 'sending', 'deferred', 'delivered', 'bounced', 'failed', 'cancelled', 'suppressed'))
) PARTITION BY RANGE (id);
CREATE INDEX recipients_message_idx ON valija.recipients (message_id);
CREATE INDEX recipients_email_idx ON valija.recipients (tenant_id, email_key, id);

CREATE TABLE valija.attempts (
  id uuid NOT NULL,
  message_id uuid NOT NULL,
  recipient_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  number integer NOT NULL,
  outcome text NOT NULL,
  reason text,
  started_at timestamptz(3) NOT NULL,
  -- The rest of the report: host, TLS facts, reply, timings, transcript.
  report jsonb NOT NULL,
  CONSTRAINT attempts_pkey PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX attempts_message_idx ON valija.attempts (message_id);

CREATE TABLE valija.events (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  -- The transaction that wrote it: readers only see transactions that no older open one can precede (packages/store/src/read-events.ts).
  transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
  type text NOT NULL,
  message_id uuid,
  created_at timestamptz(3) NOT NULL,
  data jsonb NOT NULL,
  CONSTRAINT events_pkey PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX events_stream_idx ON valija.events (tenant_id, transaction, id);
CREATE INDEX events_message_idx ON valija.events (message_id) WHERE message_id IS NOT NULL;

-- One row per recipient that is not at its end: all that dispatching and leasing ever read.
CREATE TABLE valija.deliveries (
  recipient_id uuid NOT NULL,
  message_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  stream text NOT NULL,
  route text NOT NULL,
  domain text NOT NULL,
  -- The simulator's play for this recipient; null for a real one.
  simulation text,
  state text NOT NULL,
  due_at timestamptz(3) NOT NULL,
  expires_at timestamptz(3) NOT NULL,
  -- Steps of the retry schedule used up.
  retry_steps integer NOT NULL DEFAULT 0,
  -- Counts leases. A settle names the lease it was given, so a worker that lost its lease changes nothing.
  epoch bigint NOT NULL DEFAULT 0,
  -- When the row was admitted, and until when it is leased.
  admitted_at timestamptz(3),
  leased_until timestamptz(3),
  CONSTRAINT deliveries_pkey PRIMARY KEY (recipient_id),
  CONSTRAINT deliveries_state_check CHECK (state IN ('waiting', 'admitted', 'leased'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX deliveries_waiting_idx ON valija.deliveries (tenant_id, stream, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_due_idx ON valija.deliveries (due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_admitted_idx ON valija.deliveries (tenant_id, admitted_at) WHERE state = 'admitted';
CREATE INDEX deliveries_leased_idx ON valija.deliveries (leased_until) WHERE state = 'leased';
CREATE INDEX deliveries_message_idx ON valija.deliveries (message_id);

CREATE TABLE valija.idempotency_keys (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  -- SHA-256 of the request's bytes.
  body_hash bytea NOT NULL,
  message_id uuid NOT NULL,
  -- The 202's body, byte for byte.
  response text NOT NULL,
  expires_at timestamptz(3) NOT NULL,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON valija.idempotency_keys (expires_at);

-- What an endpoint has still to be told: one row per webhook and event, gone once it is told.
CREATE TABLE valija.webhook_outbox (
  webhook_id uuid NOT NULL,
  event_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  due_at timestamptz(3) NOT NULL,
  tries integer NOT NULL DEFAULT 0,
  -- Until when a worker is telling it; null when none is.
  leased_until timestamptz(3),
  CONSTRAINT webhook_outbox_pkey PRIMARY KEY (webhook_id, event_id),
  CONSTRAINT webhook_outbox_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES valija.webhooks (id) ON DELETE CASCADE
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX webhook_outbox_due_idx ON valija.webhook_outbox (webhook_id, due_at);

-- Every try that was made.
CREATE TABLE valija.webhook_tries (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  webhook_id uuid NOT NULL,
  event_id uuid NOT NULL,
  event_type text NOT NULL,
  number integer NOT NULL,
  outcome text NOT NULL,
  status_code integer,
  error text,
  response_start text,
  started_at timestamptz(3) NOT NULL,
  duration_ms integer NOT NULL,
  next_try_at timestamptz(3),
  CONSTRAINT webhook_tries_pkey PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX webhook_tries_webhook_idx ON valija.webhook_tries (webhook_id, id);

-- What the capture route caught.
CREATE TABLE valija.inbox (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  message_id uuid NOT NULL,
  received_at timestamptz(3) NOT NULL,
  mail_from text NOT NULL,
  rcpt_to text[] NOT NULL,
  -- rcpt_to with local parts in lower case, for ?to=.
  rcpt_keys text[] NOT NULL,
  from_header text NOT NULL,
  to_header text NOT NULL,
  subject text NOT NULL,
  rfc_message_id text,
  raw bytea NOT NULL,
  CONSTRAINT inbox_pkey PRIMARY KEY (id)
);
CREATE INDEX inbox_tenant_idx ON valija.inbox (tenant_id, id);

-- Partitions ----------------------------------------------------------------------------------------------------------

-- Makes the daily partitions of one table from today to `days_ahead` days on, by the database's clock in UTC. Run by every
-- start and by the workers' maintenance; the engine may run it without owning the tables.
--
-- A partition is made as a table of its own and then attached, which lets readers and writers of its parent go on. Only the
-- default partition is locked against them; a long reader (pg_dump) holds that up, so it is waited for at most 0.5 s,
-- because everybody else waits behind us. One call per table and commit: no lock is held while another is waited for.
CREATE FUNCTION valija.ensure_partitions(parent text, days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  day timestamptz;
  part text;
  made integer := 0;
BEGIN
  IF parent NOT IN ('messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries') THEN
    RAISE EXCEPTION 'no partitions of % may be made', parent;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('valija.ensure_partitions ' || parent));
  FOR i IN 0..days_ahead LOOP
    day := (date_trunc('day', now() AT TIME ZONE 'UTC') + make_interval(days => i)) AT TIME ZONE 'UTC';
    part := parent || '_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');
    CONTINUE WHEN to_regclass('valija_parts.' || part) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE TABLE valija_parts.%I (LIKE valija.%I INCLUDING ALL)', part, parent);
      EXECUTE format('ALTER TABLE valija.%I ATTACH PARTITION valija_parts.%I FOR VALUES FROM (%L) TO (%L)',
        parent, part, valija.lowest_uuid(day), valija.lowest_uuid(day + interval '1 day'));
      made := made + 1;
    EXCEPTION WHEN check_violation THEN
      -- The default partition holds rows of that day: they stay there, the maintenance tells of them, and the other days
      -- are made nevertheless.
      RAISE WARNING 'no partition % can be made: the default partition holds rows of that day', part;
    END;
  END LOOP;
  RETURN made;
END $$;
REVOKE EXECUTE ON FUNCTION valija.ensure_partitions(text, integer) FROM PUBLIC;

-- Drops the oldest daily partition of one table that lies wholly before a time and holds nothing live: no recipient of its is
-- still to be sent to, and no webhook is still to be told of it. Returns whether there was one: one call and commit per
-- partition. The whole table is locked for that moment, so others are waited for at most 0.5 s.
--
-- Row-level security holds for the owner too: the policies `keeper` below let this function see what is live.
CREATE FUNCTION valija.drop_partition(parent text, before timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  part record;
  day timestamptz;
BEGIN
  IF parent NOT IN ('messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries') THEN
    RAISE EXCEPTION 'no partitions of % may be dropped', parent;
  END IF;
  FOR part IN
    SELECT c.relname AS name, right(c.relname, 8) AS day FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = ('valija.' || parent)::regclass AND c.relname ~ '_[0-9]{8}$' ORDER BY c.relname
  LOOP
    day := to_timestamp(part.day, 'YYYYMMDD') AT TIME ZONE current_setting('TimeZone') AT TIME ZONE 'UTC';
    CONTINUE WHEN day + interval '1 day' > before;
    CONTINUE WHEN EXISTS (SELECT FROM valija.deliveries
      WHERE message_id >= valija.lowest_uuid(day - interval '1 minute') AND message_id < valija.lowest_uuid(day + interval '1 day'));
    CONTINUE WHEN parent = 'events' AND EXISTS (SELECT FROM valija.webhook_outbox
      WHERE event_id >= valija.lowest_uuid(day) AND event_id < valija.lowest_uuid(day + interval '1 day'));
    EXECUTE format('DROP TABLE valija_parts.%I', part.name);
    RETURN true;
  END LOOP;
  RETURN false;
END $$;
REVOKE EXECUTE ON FUNCTION valija.drop_partition(text, timestamptz) FROM PUBLIC;

DO $$
DECLARE parent text;
BEGIN
  FOREACH parent IN ARRAY ARRAY['messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries'] LOOP
    EXECUTE format('CREATE TABLE valija_parts.%I PARTITION OF valija.%I DEFAULT', parent || '_default', parent);
  END LOOP;
END $$;

-- Who may do what -----------------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA valija TO valija_engine, valija_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA valija TO valija_engine;
GRANT EXECUTE ON FUNCTION valija.ensure_partitions(text, integer), valija.drop_partition(text, timestamptz) TO valija_engine;
-- To look for rows in the default partitions.
GRANT USAGE ON SCHEMA valija_parts TO valija_engine;
GRANT SELECT ON valija_parts.messages_default, valija_parts.bodies_default, valija_parts.recipients_default,
  valija_parts.attempts_default, valija_parts.events_default, valija_parts.webhook_tries_default TO valija_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.api_keys, valija.domains, valija.webhooks, valija.inbox TO valija_tenant;
GRANT SELECT ON valija.messages, valija.bodies, valija.recipients, valija.attempts, valija.events, valija.deliveries,
  valija.webhook_outbox, valija.webhook_tries, valija.tenants TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['api_keys', 'domains', 'webhooks', 'messages', 'bodies', 'recipients', 'attempts', 'events',
    'deliveries', 'idempotency_keys', 'webhook_outbox', 'webhook_tries', 'inbox'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
  ALTER TABLE valija.tenants ENABLE ROW LEVEL SECURITY;
  ALTER TABLE valija.tenants FORCE ROW LEVEL SECURITY;
  CREATE POLICY engine ON valija.tenants TO valija_engine USING (true) WITH CHECK (true);
  CREATE POLICY own_rows ON valija.tenants FOR SELECT TO valija_tenant USING (id = (SELECT valija.current_tenant()));
  -- drop_partition runs as the owner, who need not inherit the engine's rights: blind, it would drop days with live mails.
  CREATE POLICY keeper ON valija.deliveries FOR SELECT TO CURRENT_USER USING (true);
  CREATE POLICY keeper ON valija.webhook_outbox FOR SELECT TO CURRENT_USER USING (true);
END $$;

SELECT valija.ensure_partitions(parent, 14)
FROM unnest(ARRAY['messages', 'bodies', 'recipients', 'attempts', 'events', 'webhook_tries']) AS parent;
