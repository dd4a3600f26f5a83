-- How many recipients wait, in all and by tenant, as last counted: what limits of the queue are held against.
--
-- One row, counted anew by whichever process finds it old (store/queue-depth.ts): a count, never a sum of changes, so it cannot drift.
-- took_ms is what the count cost, and decides how soon it is worth another.
CREATE TABLE valija.queue_depth (
  id boolean NOT NULL DEFAULT true,
  counted_at timestamptz(3) NOT NULL,
  took_ms double precision NOT NULL,
  total bigint NOT NULL,
  -- Tenant id -> recipients.
  tenants jsonb NOT NULL,
  CONSTRAINT queue_depth_pkey PRIMARY KEY (id),
  CONSTRAINT queue_depth_one_row CHECK (id)
) WITH (fillfactor = 10);
ALTER TABLE valija.queue_depth ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.queue_depth FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.queue_depth TO valija_engine USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.queue_depth TO valija_engine;
