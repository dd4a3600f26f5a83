-- Templates of tenants, with layouts and partials, and all their versions (docs/api-guide.md, "Templates").
--
-- By hand: both.

CREATE TABLE valija.templates (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  slug text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  -- The newest version, whether or not it is published.
  latest_version integer NOT NULL,
  -- The one that is sent; null: none yet.
  published_version integer,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  updated_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT templates_pkey PRIMARY KEY (id),
  CONSTRAINT templates_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE,
  CONSTRAINT templates_slug_key UNIQUE (tenant_id, slug),
  CONSTRAINT templates_kind_check CHECK (kind IN ('template', 'layout', 'partial'))
);
CREATE INDEX templates_tenant_id_id_idx ON valija.templates (tenant_id, id);

-- A version never changes, so what was read of it once is right for ever.
CREATE TABLE valija.template_versions (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  template_id uuid NOT NULL,
  number integer NOT NULL,
  subject text,
  text text,
  html text,
  -- What it declares: [{"name", "type", "required"?, "default"?}].
  variables jsonb NOT NULL DEFAULT '[]',
  -- The layouts and partials that it names: 'layout/base', 'partial/footer'.
  uses text[] NOT NULL DEFAULT '{}',
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  -- When it was published first; null: never yet.
  published_at timestamptz(3),
  CONSTRAINT template_versions_pkey PRIMARY KEY (id),
  CONSTRAINT template_versions_template_id_fkey FOREIGN KEY (template_id) REFERENCES valija.templates (id) ON DELETE CASCADE,
  CONSTRAINT template_versions_number_key UNIQUE (template_id, number)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.templates, valija.template_versions TO valija_engine, valija_tenant;

ALTER TABLE valija.templates ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.templates FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.templates TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.templates TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));

ALTER TABLE valija.template_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.template_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.template_versions TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.template_versions TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
