-- Alarms: which of a tenant's rates are too high, by what was counted of its mail (packages/store/src/judge-rates.ts).

-- When a tenant's cursor moved last, and when somebody judged rates last: whose cursor moved since then is to be judged.
ALTER TABLE valija.stats_cursors ADD COLUMN moved_at timestamptz(3) NOT NULL DEFAULT '-infinity';
ALTER TABLE valija.stats_state ADD COLUMN judged_at timestamptz(3) NOT NULL DEFAULT '-infinity';

-- Those that are raised now.
CREATE TABLE valija.alarms (
  tenant_id uuid NOT NULL,
  stream text NOT NULL,
  alarm text NOT NULL,
  raised_at timestamptz(3) NOT NULL DEFAULT now(),
  -- What the event said of it.
  figures jsonb NOT NULL,
  CONSTRAINT alarms_pkey PRIMARY KEY (tenant_id, stream, alarm),
  CONSTRAINT alarms_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.alarms TO valija_engine;
GRANT SELECT ON valija.alarms TO valija_tenant;
ALTER TABLE valija.alarms ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.alarms FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.alarms TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.alarms TO valija_tenant
  USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
