-- DKIM keys of sender domains, and what DNS was last seen to say about the records that a domain needs.

ALTER TABLE valija.domains ADD COLUMN dkim_algorithms text[] NOT NULL DEFAULT '{rsa,ed25519}';
ALTER TABLE valija.domains ADD CONSTRAINT domains_dkim_algorithms_check
  CHECK (dkim_algorithms <@ ARRAY['rsa', 'ed25519'] AND cardinality(dkim_algorithms) BETWEEN 1 AND 2);
-- What belongs to a domain names its tenant too, and cannot name another one than the domain does.
CREATE UNIQUE INDEX domains_id_tenant_id_key ON valija.domains (id, tenant_id);

CREATE TABLE valija.dkim_keys (
  domain_id uuid NOT NULL,
  selector text NOT NULL,
  tenant_id uuid NOT NULL,
  algorithm text NOT NULL,
  -- p= of the DNS record.
  public_key text NOT NULL,
  -- PKCS #8, sealed with SECRET_KEY for this tenant, domain and selector (packages/core/src/seal.ts).
  private_key bytea NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT dkim_keys_pkey PRIMARY KEY (domain_id, selector),
  CONSTRAINT dkim_keys_domain_id_tenant_id_fkey FOREIGN KEY (domain_id, tenant_id)
    REFERENCES valija.domains (id, tenant_id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT dkim_keys_algorithm_check CHECK (algorithm IN ('rsa', 'ed25519'))
);

-- One row per record that was looked for; none: never looked.
CREATE TABLE valija.domain_checks (
  domain_id uuid NOT NULL,
  type text NOT NULL,
  name text NOT NULL,
  tenant_id uuid NOT NULL,
  -- By the last answer that DNS gave; `unchecked` when it never gave one.
  status text NOT NULL,
  found text[] NOT NULL DEFAULT '{}',
  -- What is wrong, or why the last question had no answer; a sentence.
  fault text,
  checked_at timestamptz(3) NOT NULL,
  seen_right_at timestamptz(3),
  CONSTRAINT domain_checks_pkey PRIMARY KEY (domain_id, type, name),
  CONSTRAINT domain_checks_domain_id_tenant_id_fkey FOREIGN KEY (domain_id, tenant_id)
    REFERENCES valija.domains (id, tenant_id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT domain_checks_status_check CHECK (status IN ('ok', 'missing', 'wrong', 'unchecked'))
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.dkim_keys, valija.domain_checks TO valija_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.dkim_keys TO valija_tenant;
-- A tenant cannot write what DNS is said to have answered.
GRANT SELECT ON valija.domain_checks TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['dkim_keys', 'domain_checks'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
END $$;
