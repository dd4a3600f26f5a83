-- What tenants and keys may use in a time, and what they have used of it (packages/store/src/usage.ts).

-- Limits of a key, beside those of its tenant.
ALTER TABLE valija.api_keys ADD COLUMN limits jsonb NOT NULL DEFAULT '{}';

-- One row per limit that is set, changed in place: what was used in the present window. Where the limit is per recipient, one for each.
CREATE TABLE valija.usage (
  tenant_id uuid NOT NULL,
  -- The key, or the tenant itself.
  owner_id uuid NOT NULL,
  -- The limit's name (packages/core/src/usage-limits.ts).
  name text NOT NULL,
  -- The recipient that is counted; empty: all.
  email_key text NOT NULL,
  used bigint NOT NULL,
  ends_at timestamptz(3) NOT NULL,
  -- In this window the tenant was told that it is used up.
  is_told boolean NOT NULL DEFAULT false,
  CONSTRAINT usage_pkey PRIMARY KEY (owner_id, name, email_key)
) WITH (fillfactor = 50);
CREATE INDEX usage_tenant_idx ON valija.usage (tenant_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.usage TO valija_engine;
ALTER TABLE valija.usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.usage FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.usage TO valija_engine USING (true) WITH CHECK (true);
