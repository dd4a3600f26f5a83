-- Deletion of what is kept about one person (packages/store/src/erasures.ts): asked for, worked off by workers in steps, and shown afterwards without
-- the address.
CREATE TABLE valija.erasures (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  -- What recipients go by; null once it is done.
  email_key text,
  -- What stands for the address from then on: made with the secret key, so that nobody finds it by trying addresses.
  placeholder text NOT NULL,
  status text NOT NULL DEFAULT 'pending',
  -- Mail that is accepted later has a higher id, and is not erased.
  bound_id uuid NOT NULL,
  -- The last recipient of the pass under way that was looked at.
  done_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  -- Mails to several that are still to be rid of the address: as long as others of them are being sent it, it stays as it is.
  open_message_ids uuid[] NOT NULL DEFAULT '{}',
  -- When the next step is due.
  next_at timestamptz(3) NOT NULL DEFAULT now(),
  -- Mails to the person that a worker had past recall when somebody last looked.
  being_sent integer NOT NULL DEFAULT 0,
  cancelled_count integer NOT NULL DEFAULT 0,
  recipient_count integer NOT NULL DEFAULT 0,
  body_count integer NOT NULL DEFAULT 0,
  event_count integer NOT NULL DEFAULT 0,
  attempt_count integer NOT NULL DEFAULT 0,
  requested_at timestamptz(3) NOT NULL DEFAULT now(),
  completed_at timestamptz(3),
  CONSTRAINT erasures_pkey PRIMARY KEY (id),
  CONSTRAINT erasures_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE,
  CONSTRAINT erasures_status_check CHECK (status IN ('pending', 'done')),
  CONSTRAINT erasures_done_check CHECK ((status = 'done') = (email_key IS NULL) AND (status = 'done') = (completed_at IS NOT NULL))
);
CREATE INDEX erasures_tenant_idx ON valija.erasures (tenant_id, id);
-- One at a time for an address; leasing looks here, too.
CREATE UNIQUE INDEX erasures_address_key ON valija.erasures (tenant_id, email_key) WHERE email_key IS NOT NULL;
CREATE INDEX erasures_next_idx ON valija.erasures (next_at) WHERE status = 'pending';
CREATE INDEX erasures_completed_idx ON valija.erasures (completed_at) WHERE status = 'done';

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.erasures TO valija_engine;
GRANT SELECT ON valija.erasures TO valija_tenant;
ALTER TABLE valija.erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.erasures FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.erasures TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.erasures TO valija_tenant
  USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
SELECT valija.audit_table('erasures', 'ers');
