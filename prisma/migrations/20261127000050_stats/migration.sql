-- What became of each tenant's mail, counted from its events by hour and by day (packages/store/src/count-events.ts).

-- One row. Whoever has it locked counts; the others leave it to that one.
CREATE TABLE valija.stats_state (
  singleton boolean NOT NULL DEFAULT true,
  -- All events that readers could see by then are counted; null until the first time.
  as_of timestamptz(3),
  -- When somebody counted last.
  counted_at timestamptz(3) NOT NULL DEFAULT '-infinity',
  CONSTRAINT stats_state_pkey PRIMARY KEY (singleton),
  CONSTRAINT stats_state_singleton_check CHECK (singleton)
);
INSERT INTO valija.stats_state DEFAULT VALUES;

-- The last event of each tenant that is counted, in the order of its stream.
CREATE TABLE valija.stats_cursors (
  tenant_id uuid NOT NULL,
  transaction xid8 NOT NULL,
  id uuid NOT NULL,
  CONSTRAINT stats_cursors_pkey PRIMARY KEY (tenant_id),
  CONSTRAINT stats_cursors_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
) WITH (fillfactor = 50);

-- How many different names an hour or a day has had: beyond a bound new ones are counted together, under the empty name.
CREATE TABLE valija.stats_names (
  tenant_id uuid NOT NULL,
  span text NOT NULL,
  starts_at timestamptz(3) NOT NULL,
  kind text NOT NULL,
  count integer NOT NULL,
  CONSTRAINT stats_names_pkey PRIMARY KEY (tenant_id, span, starts_at, kind)
) WITH (fillfactor = 70);
CREATE INDEX stats_names_retention_idx ON valija.stats_names (span, starts_at);

CREATE TABLE valija.stats (
  tenant_id uuid NOT NULL,
  -- `hour` or `day`, in UTC.
  span text NOT NULL,
  starts_at timestamptz(3) NOT NULL,
  -- The sender's. Empty: the rest of an hour that had too many.
  domain text NOT NULL,
  stream text NOT NULL,
  -- Who receives for the recipients' domains; empty where the shaping data has no name for it, or it is not known yet.
  provider text NOT NULL,
  outcome text NOT NULL,
  -- Of what was bounced, deferred, failed or suppressed; else empty.
  reason text NOT NULL,
  count bigint NOT NULL,
  CONSTRAINT stats_pkey PRIMARY KEY (tenant_id, span, starts_at, domain, stream, provider, outcome, reason)
) WITH (fillfactor = 80);
CREATE INDEX stats_retention_idx ON valija.stats (span, starts_at);

-- A mail with several tags counts under each.
CREATE TABLE valija.tag_stats (
  tenant_id uuid NOT NULL,
  span text NOT NULL,
  starts_at timestamptz(3) NOT NULL,
  -- Empty: the rest of an hour that had too many.
  tag text NOT NULL,
  outcome text NOT NULL,
  reason text NOT NULL,
  count bigint NOT NULL,
  CONSTRAINT tag_stats_pkey PRIMARY KEY (tenant_id, span, starts_at, tag, outcome, reason)
) WITH (fillfactor = 80);
CREATE INDEX tag_stats_retention_idx ON valija.tag_stats (span, starts_at);

-- How long deliveries took, by buckets (packages/core/src/latency-buckets.ts).
CREATE TABLE valija.latency_stats (
  tenant_id uuid NOT NULL,
  span text NOT NULL,
  starts_at timestamptz(3) NOT NULL,
  stream text NOT NULL,
  provider text NOT NULL,
  bucket smallint NOT NULL,
  count bigint NOT NULL,
  CONSTRAINT latency_stats_pkey PRIMARY KEY (tenant_id, span, starts_at, stream, provider, bucket)
) WITH (fillfactor = 80);
CREATE INDEX latency_stats_retention_idx ON valija.latency_stats (span, starts_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.stats_state, valija.stats_cursors, valija.stats_names, valija.stats, valija.tag_stats,
  valija.latency_stats TO valija_engine;
GRANT SELECT ON valija.stats_state, valija.stats, valija.tag_stats, valija.latency_stats TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['stats_cursors', 'stats_names', 'stats', 'tag_stats', 'latency_stats'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
END $$;
