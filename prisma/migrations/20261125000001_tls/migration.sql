-- TLS of receivers: MTA-STS policies as they were fetched (RFC 8461), and counts of how TLS went (RFC 8460). Both are about mail
-- domains of the world and not about a tenant: the engine's alone.

CREATE TABLE valija.mta_sts_policies (
  domain text NOT NULL,
  -- Of the TXT record that announced it.
  policy_id text NOT NULL,
  policy text NOT NULL,
  max_age_seconds integer NOT NULL,
  fetched_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT mta_sts_policies_pkey PRIMARY KEY (domain)
);

CREATE TABLE valija.tls_reports (
  -- UTC, as reports are made.
  day date NOT NULL,
  domain text NOT NULL,
  policy text NOT NULL,
  mx text NOT NULL,
  -- `success`, or a failure's name.
  result text NOT NULL,
  sessions bigint NOT NULL,
  CONSTRAINT tls_reports_pkey PRIMARY KEY (day, domain, policy, mx, result),
  CONSTRAINT tls_reports_policy_check CHECK (policy IN ('tlsa', 'sts', 'no-policy-found'))
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.mta_sts_policies, valija.tls_reports TO valija_engine;
