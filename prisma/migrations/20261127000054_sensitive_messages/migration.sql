-- Sensitive messages whose body is stored. Workers of the previous version know nothing of such, and leave the body where they end the last
-- recipient: housekeeping finds it here (packages/store/src/sensitive-bodies.ts).
CREATE TABLE valija.sensitive_messages (
  message_id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  CONSTRAINT sensitive_messages_pkey PRIMARY KEY (message_id),
  CONSTRAINT sensitive_messages_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE
);
-- For the deletion of a tenant.
CREATE INDEX sensitive_messages_tenant_idx ON valija.sensitive_messages (tenant_id);

GRANT SELECT, INSERT, DELETE ON valija.sensitive_messages TO valija_engine;
GRANT SELECT ON valija.sensitive_messages TO valija_tenant;
ALTER TABLE valija.sensitive_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.sensitive_messages FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.sensitive_messages TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.sensitive_messages TO valija_tenant
  USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
