-- Tenants that are suspended: their mail is held, and its time does not run on (packages/store/src/suspend-tenant.ts).

-- Since when it is; null: it is not.
ALTER TABLE valija.tenants ADD COLUMN suspended_at timestamptz(3);
-- It is or once was: only then the times below have to be looked for.
ALTER TABLE valija.tenants ADD COLUMN was_suspended boolean NOT NULL DEFAULT false;
CREATE INDEX tenants_suspended_idx ON valija.tenants (id) WHERE suspended_at IS NOT NULL;

CREATE TABLE valija.tenant_suspensions (
  tenant_id uuid NOT NULL,
  began_at timestamptz(3) NOT NULL,
  -- Null: it lasts.
  ended_at timestamptz(3),
  CONSTRAINT tenant_suspensions_pkey PRIMARY KEY (tenant_id, began_at),
  CONSTRAINT tenant_suspensions_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.tenant_suspensions TO valija_engine;
GRANT SELECT ON valija.tenant_suspensions TO valija_tenant;
ALTER TABLE valija.tenant_suspensions ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.tenant_suspensions FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.tenant_suspensions TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.tenant_suspensions TO valija_tenant
  USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));

-- When a mail's time is over, longer by every suspension that it met before that: what is held need not be written anew when it is
-- released, were it a million rows. The id, a UUIDv7, says when it was accepted.
CREATE FUNCTION valija.extended_until(owner uuid, row_id uuid, until timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  pause record;
  result timestamptz := until;
BEGIN
  FOR pause IN SELECT began_at, coalesce(ended_at, now()) AS over_at FROM valija.tenant_suspensions WHERE tenant_id = owner ORDER BY began_at LOOP
    IF pause.began_at < result AND row_id < valija.lowest_uuid(pause.over_at) THEN
      result := result + (pause.over_at - pause.began_at);
    END IF;
  END LOOP;
  RETURN result;
END $$;
