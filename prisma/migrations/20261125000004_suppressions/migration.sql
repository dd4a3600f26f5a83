-- Suppressions: addresses that a tenant's mail is not sent to any more, and what is remembered to decide it
-- (packages/core/src/suppression-policy.ts).

-- A UUIDv7 of this moment, for rows that a statement makes of others (PostgreSQL has its own from 18 on). The 12 bits behind the
-- version are the fraction of the millisecond (RFC 9562 section 6.2, method 3), so that ids rise from statement to statement.
CREATE FUNCTION valija.new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT (lpad(to_hex(micros / 1000), 12, '0') || '7' || lpad(to_hex(micros % 1000 * 4096 / 1000), 3, '0')
    || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
  FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros) AS clock
$$;

CREATE TABLE valija.suppressions (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  -- In canonical form, as it was first given, and what look-ups go by.
  email text NOT NULL,
  email_key text NOT NULL,
  -- The stream that it stops; null: both.
  stream text,
  reason text NOT NULL,
  -- Held back since: seen by people, and stopping nothing. Null while it is in force.
  quarantined_at timestamptz(3),
  -- What caused it; null where a person did.
  recipient_id uuid,
  message_id uuid,
  reply text,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT suppressions_pkey PRIMARY KEY (id),
  CONSTRAINT suppressions_stream_check CHECK (stream IN ('transactional', 'bulk')),
  CONSTRAINT suppressions_reason_check CHECK (reason IN ('manual', 'mailbox_unknown', 'mailbox_disabled', 'mailbox_full', 'complaint', 'unsubscribe'))
);
-- Accepting and leasing look here, once per recipient.
CREATE UNIQUE INDEX suppressions_address_key ON valija.suppressions (tenant_id, email_key, stream) NULLS NOT DISTINCT;
CREATE INDEX suppressions_tenant_idx ON valija.suppressions (tenant_id, id);
CREATE INDEX suppressions_quarantined_idx ON valija.suppressions (tenant_id, id) WHERE quarantined_at IS NOT NULL;

-- Mails that ended because their mailbox does not exist, is disabled or is full, one row each, for 14 days.
CREATE TABLE valija.mailbox_faults (
  recipient_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  email_key text NOT NULL,
  -- Who answered so: the provider of the recipient's domain.
  provider text NOT NULL,
  reason text NOT NULL,
  at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT mailbox_faults_pkey PRIMARY KEY (recipient_id),
  CONSTRAINT mailbox_faults_reason_check CHECK (reason IN ('mailbox_unknown', 'mailbox_disabled', 'mailbox_full'))
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX mailbox_faults_address_idx ON valija.mailbox_faults (tenant_id, email_key, at);
CREATE INDEX mailbox_faults_provider_idx ON valija.mailbox_faults (provider, at) WHERE reason = 'mailbox_unknown';
CREATE INDEX mailbox_faults_at_idx ON valija.mailbox_faults (at);

-- At how many addresses in 10 minutes a provider usually answers that there is no such mailbox; measured when it is asked for,
-- at most once an hour.
CREATE TABLE valija.provider_unknown_rates (
  provider text NOT NULL,
  usual real NOT NULL,
  measured_at timestamptz(3) NOT NULL,
  CONSTRAINT provider_unknown_rates_pkey PRIMARY KEY (provider)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.suppressions, valija.mailbox_faults, valija.provider_unknown_rates TO valija_engine;
GRANT SELECT ON valija.suppressions TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['suppressions', 'mailbox_faults'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
END $$;
