-- Bounces and complaints that came back as mail and were applied (packages/store/src/apply-report.ts): each once, however often it
-- comes and by whichever way. Kept for as long as the recipients that they are about.
CREATE TABLE valija.taken_reports (
  recipient_id uuid NOT NULL,
  -- SHA-256 of the report without what each way adds to it.
  fingerprint bytea NOT NULL,
  tenant_id uuid NOT NULL,
  message_id uuid NOT NULL,
  kind text NOT NULL,
  at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT taken_reports_pkey PRIMARY KEY (recipient_id, fingerprint),
  CONSTRAINT taken_reports_kind_check CHECK (kind IN ('bounce', 'complaint', 'note'))
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX taken_reports_at_idx ON valija.taken_reports (at);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.taken_reports TO valija_engine;
ALTER TABLE valija.taken_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.taken_reports FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.taken_reports TO valija_engine USING (true) WITH CHECK (true);
