-- How long mail of a tenant is kept where that is shorter than VALIJA_RETENTION_* (packages/store/src/tenant-retention.ts); null: as that says.
ALTER TABLE valija.tenants ADD COLUMN retention_days integer CONSTRAINT tenants_retention_check CHECK (retention_days >= 1);
-- After how many days the content of its mail goes.
ALTER TABLE valija.tenants ADD COLUMN redact_after_days integer CONSTRAINT tenants_redact_check CHECK (redact_after_days >= 1);

-- Up to which message the content is gone, but for those below.
CREATE TABLE valija.tenant_redactions (
  tenant_id uuid NOT NULL,
  redacted_to uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  CONSTRAINT tenant_redactions_pkey PRIMARY KEY (tenant_id),
  CONSTRAINT tenant_redactions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);
-- Messages that were old enough and not at their end.
CREATE TABLE valija.unredacted_messages (
  tenant_id uuid NOT NULL,
  message_id uuid NOT NULL,
  CONSTRAINT unredacted_messages_pkey PRIMARY KEY (tenant_id, message_id),
  CONSTRAINT unredacted_messages_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.tenant_redactions, valija.unredacted_messages TO valija_engine;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tenant_redactions', 'unredacted_messages'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
  END LOOP;
END $$;
