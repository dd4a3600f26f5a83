-- Unsubscribing by a link, and a suppression list that remembers what was taken off it (packages/store/src/suppressions.ts).

-- When the recipient followed the link of this very mail, so that a second click tells nobody anything new.
ALTER TABLE valija.recipients ADD COLUMN unsubscribed_at timestamptz(3);

-- Whose server said so, where one did: what one provider answered on a bad day can be undone together.
ALTER TABLE valija.suppressions ADD COLUMN provider text;

-- What was on the list: who took it off, when and how.
CREATE TABLE valija.suppression_removals (
  -- The entry's own.
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  email text NOT NULL,
  email_key text NOT NULL,
  stream text,
  reason text NOT NULL,
  provider text,
  recipient_id uuid,
  message_id uuid,
  reply text,
  created_at timestamptz(3) NOT NULL,
  removed_at timestamptz(3) NOT NULL DEFAULT now(),
  -- deleted: by its id; undone: with others, by provider and time; resubscribed: by its owner, on the page of the link.
  removed_how text NOT NULL,
  -- The key that asked for it; null where the operator did, or the owner.
  removed_by_key uuid,
  CONSTRAINT suppression_removals_pkey PRIMARY KEY (id),
  CONSTRAINT suppression_removals_how_check CHECK (removed_how IN ('deleted', 'undone', 'resubscribed'))
);
CREATE INDEX suppression_removals_tenant_idx ON valija.suppression_removals (tenant_id, id);
CREATE INDEX suppression_removals_address_idx ON valija.suppression_removals (tenant_id, email_key);
CREATE INDEX suppression_removals_at_idx ON valija.suppression_removals (removed_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.suppression_removals TO valija_engine;
GRANT SELECT ON valija.suppression_removals TO valija_tenant;

ALTER TABLE valija.suppression_removals ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.suppression_removals FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.suppression_removals TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.suppression_removals TO valija_tenant
  USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
