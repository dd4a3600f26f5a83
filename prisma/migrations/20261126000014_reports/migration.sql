-- What others report about sender domains: DMARC aggregate reports (RFC 7489, RFC 9990) and TLS reports (RFC 8460), summed up by day.

-- Every report that was taken, so that it counts once.
CREATE TABLE valija.domain_reports (
  tenant_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  kind text NOT NULL,
  -- By their own word.
  reporter text NOT NULL,
  report_id text NOT NULL,
  -- The domain whose policy was found: the domain itself, one below it, or the one above it whose record holds for it.
  policy_domain text NOT NULL,
  -- UTC, of the middle of its time.
  day date NOT NULL,
  received_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT domain_reports_pkey PRIMARY KEY (domain_id, kind, reporter, report_id, policy_domain),
  CONSTRAINT domain_reports_domain_fkey FOREIGN KEY (domain_id, tenant_id) REFERENCES valija.domains (id, tenant_id) ON DELETE CASCADE,
  CONSTRAINT domain_reports_kind_check CHECK (kind IN ('dmarc', 'tls'))
);
CREATE INDEX domain_reports_day_idx ON valija.domain_reports (domain_id, day);
CREATE INDEX domain_reports_received_idx ON valija.domain_reports (domain_id, received_at);
CREATE INDEX domain_reports_retention_idx ON valija.domain_reports (day);

CREATE TABLE valija.domain_dmarc_counts (
  tenant_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  day date NOT NULL,
  reporter text NOT NULL,
  -- Empty: the rest of a report that had too many.
  source_ip text NOT NULL,
  is_ours boolean NOT NULL,
  -- What became of a signature by a selector of the domain.
  signature text NOT NULL,
  -- The domain of another valid signature, and the one for which SPF passed; empty without one.
  signed_by text NOT NULL,
  spf_domain text NOT NULL,
  header_from text NOT NULL,
  disposition text NOT NULL,
  -- Valid and aligned.
  dkim boolean NOT NULL,
  spf boolean NOT NULL,
  -- Why the receiver did not do as the policy says; empty without a reason.
  override text NOT NULL,
  messages bigint NOT NULL,
  CONSTRAINT domain_dmarc_counts_pkey PRIMARY KEY (domain_id, day, reporter, source_ip, header_from, disposition, dkim, spf, is_ours, signature, signed_by, spf_domain, override),
  CONSTRAINT domain_dmarc_counts_domain_fkey FOREIGN KEY (domain_id, tenant_id) REFERENCES valija.domains (id, tenant_id) ON DELETE CASCADE,
  CONSTRAINT domain_dmarc_counts_signature_check CHECK (signature IN ('valid', 'broken', 'none')),
  CONSTRAINT domain_dmarc_counts_disposition_check CHECK (disposition IN ('none', 'quarantine', 'reject'))
);
CREATE INDEX domain_dmarc_counts_retention_idx ON valija.domain_dmarc_counts (day);

CREATE TABLE valija.domain_tls_counts (
  tenant_id uuid NOT NULL,
  domain_id uuid NOT NULL,
  day date NOT NULL,
  reporter text NOT NULL,
  policy text NOT NULL,
  -- The host that took, or should have taken, the mail; empty where it is not told.
  mx text NOT NULL,
  -- `success`, or a failure's name.
  result text NOT NULL,
  sessions bigint NOT NULL,
  CONSTRAINT domain_tls_counts_pkey PRIMARY KEY (domain_id, day, reporter, policy, mx, result),
  CONSTRAINT domain_tls_counts_domain_fkey FOREIGN KEY (domain_id, tenant_id) REFERENCES valija.domains (id, tenant_id) ON DELETE CASCADE,
  CONSTRAINT domain_tls_counts_policy_check CHECK (policy IN ('tlsa', 'sts', 'no-policy-found'))
);
CREATE INDEX domain_tls_counts_retention_idx ON valija.domain_tls_counts (day);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.domain_reports, valija.domain_dmarc_counts, valija.domain_tls_counts TO valija_engine;
GRANT SELECT ON valija.domain_reports, valija.domain_dmarc_counts, valija.domain_tls_counts TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['domain_reports', 'domain_dmarc_counts', 'domain_tls_counts'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
END $$;
