-- What is searched through before messages are (packages/core/src/message-digest.ts): two bitmaps for every 512 messages of a tenant, by the order
-- of their ids and without gaps. Made by workers, some minutes after acceptance; what has none yet is read itself.
CREATE TABLE valija.message_digests (
  tenant_id uuid NOT NULL,
  -- The messages that it speaks for.
  first_id uuid NOT NULL,
  last_id uuid NOT NULL,
  terms bytea NOT NULL,
  subjects bytea NOT NULL,
  CONSTRAINT message_digests_pkey PRIMARY KEY (tenant_id, last_id),
  CONSTRAINT message_digests_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);
-- A row is nearly a page: to look at a bit is to look at the page, without a second table and without unpacking.
ALTER TABLE valija.message_digests ALTER COLUMN terms SET STORAGE PLAIN, ALTER COLUMN subjects SET STORAGE PLAIN;

GRANT SELECT, INSERT, DELETE ON valija.message_digests TO valija_engine;
GRANT SELECT ON valija.message_digests TO valija_tenant;
ALTER TABLE valija.message_digests ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.message_digests FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.message_digests TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.message_digests TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));

-- No row can still appear whose id is of before this time, less what a request may wait for its transaction: the beginning of the oldest
-- transaction that is writing. Processes see no other one's transactions, unless by this.
CREATE FUNCTION valija.oldest_writer() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(min(xact_start), now()) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND datname = current_database()
$$;
REVOKE EXECUTE ON FUNCTION valija.oldest_writer() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION valija.oldest_writer() TO valija_engine;
