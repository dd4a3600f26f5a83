-- Shaping (DESIGN 4.15, 4.16): the limits of receiving sites over all workers. All of it is the engine's; tenants are told by
-- events.

-- A site or provider, from one of our source addresses: what permits, rates and suspensions are kept by.
CREATE TABLE valija.shaping_sites (
  key text NOT NULL,
  -- Short enough for a URL.
  id text NOT NULL GENERATED ALWAYS AS (md5(key)) STORED,
  provider text,
  site text NOT NULL,
  source text NOT NULL,
  kind text NOT NULL,
  -- The configured limits, as the worker that saw it last knew them.
  limits jsonb NOT NULL,
  -- The adaptive state (packages/core/src/site-pace.ts); null while nothing is known, which means the minimum rate.
  pace jsonb,
  -- What the pace comes to: for look-ups.
  condition text NOT NULL DEFAULT 'ok',
  paused_until timestamptz(3),
  since timestamptz(3),
  seen_at timestamptz(3) NOT NULL DEFAULT now(),
  updated_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT shaping_sites_pkey PRIMARY KEY (key),
  CONSTRAINT shaping_sites_kind_check CHECK (kind IN ('mx', 'relay')),
  CONSTRAINT shaping_sites_condition_check CHECK (condition IN ('ok', 'slowed', 'suspended'))
);
CREATE INDEX shaping_sites_id_idx ON valija.shaping_sites (id);
CREATE INDEX shaping_sites_condition_idx ON valija.shaping_sites (condition) WHERE condition <> 'ok';
CREATE INDEX shaping_sites_updated_at_idx ON valija.shaping_sites (updated_at);
CREATE INDEX shaping_sites_seen_at_idx ON valija.shaping_sites (seen_at);

-- How many connections each worker has to a site, for as long as it says so. A worker that was told to wait has a row too, so that
-- those who have some can share.
CREATE TABLE valija.shaping_permits (
  scope_key text NOT NULL,
  worker_id uuid NOT NULL,
  connections integer NOT NULL,
  valid_until timestamptz(3) NOT NULL,
  -- Exact: it says who came first.
  wanted_since timestamptz,
  wanted_until timestamptz(3),
  CONSTRAINT shaping_permits_pkey PRIMARY KEY (scope_key, worker_id)
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- When the next mail to a site may begin, over all workers.
CREATE TABLE valija.shaping_rates (
  scope_key text NOT NULL,
  next_slot timestamptz NOT NULL,
  CONSTRAINT shaping_rates_pkey PRIMARY KEY (scope_key)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- A tenant's mail, or that from one of its sending domains (part), which a rule holds back at a provider.
CREATE TABLE valija.shaping_holds (
  scope_key text NOT NULL,
  tenant_id uuid NOT NULL,
  -- The sending domain; `*` for all of the tenant's mail.
  part text NOT NULL,
  hold jsonb NOT NULL,
  until timestamptz(3),
  updated_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT shaping_holds_pkey PRIMARY KEY (scope_key, tenant_id, part),
  CONSTRAINT shaping_holds_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);
CREATE INDEX shaping_holds_updated_at_idx ON valija.shaping_holds (updated_at);

-- Tenants whose mail met what slows a site, and whether they were told.
CREATE TABLE valija.shaping_witnesses (
  scope_key text NOT NULL,
  tenant_id uuid NOT NULL,
  is_told boolean NOT NULL DEFAULT false,
  seen_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT shaping_witnesses_pkey PRIMARY KEY (scope_key, tenant_id),
  CONSTRAINT shaping_witnesses_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);

-- Where the mail of a recipient's domain went last, so that it can be explained why it waits.
CREATE TABLE valija.destinations (
  domain text NOT NULL,
  scope_key text NOT NULL,
  provider text,
  exchangers text[] NOT NULL,
  seen_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT destinations_pkey PRIMARY KEY (domain, scope_key)
);
CREATE INDEX destinations_seen_at_idx ON valija.destinations (seen_at);

-- One worker says what connections it has at some sites (which keeps them its own for `ttl`), and asks for more.
--
-- Sites are taken by rising key, so two workers cannot wait in a circle. Whoever has less than an equal part and waited longer comes first:
-- a worker gets none of the free places that such others were refused before it. Nothing here needs to survive a crash of PostgreSQL beyond what workers say
-- again within seconds, so nobody waits for the disk.
--
-- granted: how many more. rivals: other workers that have connections there or wait for some. waiting: those that wait and have
-- less than their part. kept: whether what the worker says it has is still its own; what it was silent about for too long counts as
-- given up, because others may have it by now.
CREATE FUNCTION valija.exchange_site_permits(
  worker uuid, ttl interval, keys text[], held integer[], wanted integer[], limits integer[]
) RETURNS TABLE (key text, granted integer, rivals integer, waiting integer, kept boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  request record;
  others record;
  mine record;
  moment timestamptz;
  still_held integer;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR request IN SELECT * FROM unnest(keys, held, wanted, limits) AS r (key, held, wanted, limit_) ORDER BY r.key LOOP
    PERFORM pg_advisory_xact_lock(hashtextextended('valija.shaping ' || request.key, 0));
    moment := clock_timestamp();
    SELECT p.wanted_since INTO mine FROM valija.shaping_permits AS p
      WHERE p.scope_key = request.key AND p.worker_id = worker AND p.wanted_until > moment;
    -- Without a row what was known is lost, and the worker's word is all there is.
    kept := NOT EXISTS (SELECT FROM valija.shaping_permits AS p
      WHERE p.scope_key = request.key AND p.worker_id = worker AND p.connections > 0 AND p.valid_until <= moment);
    still_held := CASE WHEN kept THEN request.held ELSE 0 END;
    SELECT coalesce(sum(p.connections), 0) AS connections, count(*) FILTER (WHERE p.is_rival) AS rivals,
        count(*) FILTER (WHERE p.is_short) AS waiting,
        count(*) FILTER (WHERE p.is_short AND p.wanted_since < coalesce(mine.wanted_since, moment)) AS ahead
      INTO others FROM (
        SELECT one.*, one.is_waiting AND one.connections < greatest(1, request.limit_ / (1 + count(*) FILTER (WHERE one.is_rival) OVER ())) AS is_short
        FROM (
          SELECT q.connections, q.wanted_since, coalesce(q.wanted_until > moment, false) AS is_waiting,
            q.connections > 0 OR coalesce(q.wanted_until > moment, false) AS is_rival
          FROM valija.shaping_permits AS q
          WHERE q.scope_key = request.key AND q.worker_id <> worker AND q.valid_until > moment
        ) AS one
      ) AS p;
    key := request.key;
    granted := greatest(0, least(request.wanted, request.limit_ - still_held - others.connections - others.ahead));
    rivals := others.rivals;
    waiting := others.waiting;
    IF still_held + granted = 0 AND request.wanted = 0 THEN
      DELETE FROM valija.shaping_permits AS p WHERE p.scope_key = request.key AND p.worker_id = worker;
    ELSE
      INSERT INTO valija.shaping_permits AS p (scope_key, worker_id, connections, valid_until, wanted_since, wanted_until)
      VALUES (request.key, worker, still_held + granted, moment + ttl,
        CASE WHEN request.wanted > 0 AND granted = 0 THEN coalesce(mine.wanted_since, moment) END,
        CASE WHEN request.wanted > 0 AND granted = 0 THEN moment + interval '5 seconds' END)
      ON CONFLICT ON CONSTRAINT shaping_permits_pkey DO UPDATE SET connections = excluded.connections,
        valid_until = excluded.valid_until, wanted_since = excluded.wanted_since, wanted_until = excluded.wanted_until;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

-- Draws the next slots of each site, `spacing_ms` apart, none of them in the past, if the first one is not farther ahead than
-- `horizon_ms`; else none (drawn = 0) is taken and the time of the next one is told, so that a slot nobody comes for is lost to
-- nobody for long. Slots of all workers come from one line: no stretch of time ever holds more of them than its length allows.
CREATE FUNCTION valija.draw_site_slots(keys text[], counts integer[], spacings_ms float8[], horizon_ms float8)
RETURNS TABLE (key text, first_ms float8, drawn integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  request record;
  next_one timestamptz;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR request IN SELECT * FROM unnest(keys, counts, spacings_ms) AS r (key, count_, spacing_ms) ORDER BY r.key LOOP
    INSERT INTO valija.shaping_rates AS r (scope_key, next_slot) VALUES (request.key, clock_timestamp())
    ON CONFLICT ON CONSTRAINT shaping_rates_pkey DO NOTHING;
    SELECT greatest(r.next_slot, clock_timestamp()) INTO next_one FROM valija.shaping_rates AS r
      WHERE r.scope_key = request.key FOR UPDATE;
    -- Waiting for the row took time.
    next_one := greatest(next_one, clock_timestamp());
    key := request.key;
    first_ms := extract(epoch FROM next_one) * 1000;
    drawn := CASE WHEN next_one <= clock_timestamp() + make_interval(secs => horizon_ms / 1000) THEN request.count_ ELSE 0 END;
    IF drawn > 0 THEN
      UPDATE valija.shaping_rates AS r SET next_slot = next_one + make_interval(secs => drawn * request.spacing_ms / 1000)
        WHERE r.scope_key = request.key;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION valija.exchange_site_permits(uuid, interval, text[], integer[], integer[], integer[]) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION valija.draw_site_slots(text[], integer[], float8[], float8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION valija.exchange_site_permits(uuid, interval, text[], integer[], integer[], integer[]) TO valija_engine;
GRANT EXECUTE ON FUNCTION valija.draw_site_slots(text[], integer[], float8[], float8) TO valija_engine;

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.shaping_sites, valija.shaping_permits, valija.shaping_rates, valija.shaping_holds,
  valija.shaping_witnesses, valija.destinations TO valija_engine;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['shaping_holds', 'shaping_witnesses'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
  END LOOP;
END $$;
