-- Who changed what of the management (packages/store/src/audit.ts): append-only, written by the changes themselves.

CREATE TABLE valija.audit (
  id uuid NOT NULL,
  -- Null: it is the operator's alone, such as a source address.
  tenant_id uuid,
  created_at timestamptz(3) NOT NULL,
  -- Null: the operator did it.
  key_id uuid,
  client_ip text NOT NULL,
  request_id text NOT NULL,
  action text NOT NULL,
  -- The id of what was changed, as programs see it; null where it is many, or has none.
  target text,
  -- The names of what was changed of it; values, which may be secrets, are not kept.
  fields text[] NOT NULL,
  -- Of how many things this is the entry.
  count integer NOT NULL,
  CONSTRAINT audit_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_tenant_idx ON valija.audit (tenant_id, id);
CREATE INDEX audit_request_idx ON valija.audit (request_id);

GRANT SELECT, INSERT, DELETE ON valija.audit TO valija_engine;
GRANT SELECT ON valija.audit TO valija_tenant;
ALTER TABLE valija.audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.audit FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.audit TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY writer ON valija.audit FOR INSERT TO CURRENT_USER WITH CHECK (true);
CREATE POLICY own_rows ON valija.audit FOR SELECT TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant()));

-- One statement of a request that manages something: an entry for each row that it changed, or one for all when they are many. The owner's
-- rights, for a tenant's connections may not write here.
CREATE FUNCTION valija.note_action() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  request jsonb := current_setting('valija.audit')::jsonb;
  -- What changes by itself.
  passing text[] := ARRAY['updated_at', 'checked_at', 'next_check_at', 'was_suspended'];
  most constant integer := 10;
  -- Of each row its id, whose it is, and what of it was changed.
  changes jsonb;
  total integer;
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT jsonb_agg(jsonb_build_array(to_jsonb(n) -> 'id', to_jsonb(n) -> TG_ARGV[1], '[]'::jsonb)) INTO changes FROM new_rows AS n;
  ELSIF TG_OP = 'DELETE' THEN
    SELECT jsonb_agg(jsonb_build_array(to_jsonb(o) -> 'id', to_jsonb(o) -> TG_ARGV[1], '[]'::jsonb)) INTO changes FROM old_rows AS o;
  ELSE
    SELECT jsonb_agg(jsonb_build_array(changed.after -> 'id', changed.after -> TG_ARGV[1], changed.fields)) INTO changes
    FROM (
      SELECT pair.after, (
        SELECT jsonb_agg(field.key ORDER BY field.key) FROM jsonb_each(pair.after) AS field
        WHERE field.value IS DISTINCT FROM pair.before -> field.key AND field.key <> ALL (passing)) AS fields
      FROM (SELECT to_jsonb(n) AS after, to_jsonb(o) AS before FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id) AS pair
    ) AS changed
    WHERE changed.fields IS NOT NULL;
  END IF;
  total := coalesce(jsonb_array_length(changes), 0);
  IF total = 0 THEN
    RETURN NULL;
  END IF;
  INSERT INTO valija.audit (id, tenant_id, created_at, key_id, client_ip, request_id, action, target, fields, count)
  SELECT valija.new_id(), owner, clock_timestamp(), (request ->> 'key_id')::uuid, request ->> 'client_ip', request ->> 'request_id',
    request ->> 'action', target, fields, number
  FROM (
    SELECT (change ->> 1)::uuid AS owner, TG_ARGV[0] || '_' || replace(change ->> 0, '-', '') AS target,
      ARRAY(SELECT jsonb_array_elements_text(change -> 2)) AS fields, 1 AS number
    FROM jsonb_array_elements(changes) AS change WHERE total <= most
    UNION ALL
    SELECT (change ->> 1)::uuid, NULL, '{}', count(*)::integer FROM jsonb_array_elements(changes) AS change WHERE total > most GROUP BY 1
  ) AS entry;
  RETURN NULL;
END $$;

-- Has the changes of a table noted, whose rows have an id: its prefix, and which column says whose a row is.
CREATE FUNCTION valija.audit_table(name text, prefix text, owner text DEFAULT 'tenant_id') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON valija.%I REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_setting(''valija.audit'', true) <> '''') EXECUTE FUNCTION valija.note_action(%L, %L)', name, prefix, owner);
  EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON valija.%I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT WHEN (current_setting(''valija.audit'', true) <> '''') EXECUTE FUNCTION valija.note_action(%L, %L)', name, prefix, owner);
  EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON valija.%I REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT WHEN (current_setting(''valija.audit'', true) <> '''') EXECUTE FUNCTION valija.note_action(%L, %L)', name, prefix, owner);
END $$;

SELECT valija.audit_table('tenants', 'ten', 'id');
SELECT valija.audit_table('api_keys', 'key');
SELECT valija.audit_table('domains', 'dom');
SELECT valija.audit_table('webhooks', 'whk');
SELECT valija.audit_table('routes', 'rou');
SELECT valija.audit_table('route_lists', 'rtl');
SELECT valija.audit_table('mailboxes', 'mbx');
SELECT valija.audit_table('suppressions', 'sup');
SELECT valija.audit_table('source_ips', 'src');
SELECT valija.audit_table('templates', 'tpl');
