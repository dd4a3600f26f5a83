-- Named routes, lists of them, and source addresses (docs/ARCHITECTURE.md, "Tables").
--
-- Prisma owns what people manage: routes, route_lists, source_ips. By hand: route_health and warm_ups, which workers write.

-- A way that mail can take. Without a tenant it is the operator's, and every tenant may name it.
CREATE TABLE valija.routes (
  id uuid NOT NULL,
  tenant_id uuid,
  name text NOT NULL,
  kind text NOT NULL,
  host text,
  port integer,
  tls text,
  username text,
  -- Sealed with SECRET_KEY for this route (packages/core/src/seal.ts).
  password bytea,
  return_path text NOT NULL DEFAULT 'verp',
  return_path_address text,
  rewrites_ids boolean NOT NULL DEFAULT false,
  pool text,
  -- A tenant named the host: the guard against private networks judges it.
  is_guarded boolean NOT NULL DEFAULT true,
  state text NOT NULL DEFAULT 'enabled',
  paused_reason text,
  -- What the peer said, when its refusal paused the route.
  paused_reply text,
  paused_until timestamptz(3),
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT routes_pkey PRIMARY KEY (id),
  CONSTRAINT routes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT routes_kind_check CHECK (kind IN ('mx', 'smarthost', 'capture')),
  CONSTRAINT routes_tls_check CHECK (tls IN ('implicit', 'required', 'opportunistic', 'off')),
  CONSTRAINT routes_host_check CHECK ((kind = 'smarthost') = (host IS NOT NULL AND port IS NOT NULL AND tls IS NOT NULL)),
  CONSTRAINT routes_return_path_check CHECK (return_path IN ('verp', 'from', 'fixed')),
  CONSTRAINT routes_return_path_address_check CHECK ((return_path = 'fixed') = (return_path_address IS NOT NULL)),
  CONSTRAINT routes_state_check CHECK (state IN ('enabled', 'paused'))
);
CREATE UNIQUE INDEX routes_tenant_id_name_key ON valija.routes (tenant_id, name) NULLS NOT DISTINCT;

-- Which routes the mails of a tenant or of one of its sender domains take, of one stream or of both; the operator's, without a
-- tenant, is for everybody who has no other. An empty text means "all".
CREATE TABLE valija.route_lists (
  id uuid NOT NULL,
  tenant_id uuid,
  domain text NOT NULL DEFAULT '',
  stream text NOT NULL DEFAULT '',
  -- [{"route": name, "weight": whole number, "backup": boolean}] in order.
  routes jsonb NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT route_lists_pkey PRIMARY KEY (id),
  CONSTRAINT route_lists_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT route_lists_stream_check CHECK (stream IN ('', 'transactional', 'bulk'))
);
CREATE UNIQUE INDEX route_lists_tenant_id_domain_stream_key ON valija.route_lists (tenant_id, domain, stream) NULLS NOT DISTINCT;

-- Addresses that mail to mail exchangers leaves from (DESIGN 4.17).
CREATE TABLE valija.source_ips (
  id uuid NOT NULL,
  -- As the world sees it, and as this machine binds it (behind a NAT they differ).
  address text NOT NULL,
  bind text NOT NULL,
  -- The IPv6 address that the same source also sends from.
  ipv6 text,
  ehlo_name text NOT NULL,
  pool text NOT NULL DEFAULT 'default',
  weight integer NOT NULL DEFAULT 1,
  state text NOT NULL DEFAULT 'enabled',
  -- Null: none, or over. {"caps": [mails per provider and day, …], "max_deferral_rate", "max_complaint_rate"}
  warm_up jsonb,
  -- When a worker last said that it can bind it.
  bound_at timestamptz(3),
  -- The last refusal that named this address's reputation.
  blocked_at timestamptz(3),
  blocked_reply text,
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT source_ips_pkey PRIMARY KEY (id),
  CONSTRAINT source_ips_weight_check CHECK (weight BETWEEN 1 AND 1000),
  CONSTRAINT source_ips_state_check CHECK (state IN ('enabled', 'paused'))
);
CREATE UNIQUE INDEX source_ips_address_key ON valija.source_ips (address);

-- Routes that cannot be used now, as all workers know it: one row while it is so.
CREATE TABLE valija.route_health (
  -- A route's id, or `installation` for the one that VALIJA_DELIVERY names.
  route text NOT NULL,
  -- `down`: takes no connections. `login_refused`: wants another password.
  condition text NOT NULL,
  reply text,
  since timestamptz(3) NOT NULL DEFAULT now(),
  -- From when on one worker may try it with a single mail.
  probe_at timestamptz(3) NOT NULL,
  -- The tenants that were told, and will be told of the recovery.
  told uuid[] NOT NULL,
  CONSTRAINT route_health_pkey PRIMARY KEY (route),
  CONSTRAINT route_health_condition_check CHECK (condition IN ('down', 'login_refused'))
);

-- How far a source's warm-up has come with each provider (packages/core/src/warm-up.ts).
CREATE TABLE valija.warm_ups (
  source_id uuid NOT NULL,
  provider text NOT NULL,
  -- From 0: the index of the day's cap.
  stage integer NOT NULL DEFAULT 0,
  day_began_at timestamptz(3) NOT NULL DEFAULT now(),
  hour_began_at timestamptz(3) NOT NULL DEFAULT now(),
  -- Rights to send that workers took, of this day and of this hour.
  drawn_in_day integer NOT NULL DEFAULT 0,
  drawn_in_hour integer NOT NULL DEFAULT 0,
  -- What came of it, in this day.
  handed_off integer NOT NULL DEFAULT 0,
  deferred integer NOT NULL DEFAULT 0,
  complained integer NOT NULL DEFAULT 0,
  CONSTRAINT warm_ups_pkey PRIMARY KEY (source_id, provider),
  CONSTRAINT warm_ups_source_id_fkey FOREIGN KEY (source_id) REFERENCES valija.source_ips (id) ON DELETE CASCADE
);

-- Routes and sources that refused this recipient's mail for who we are: `route:<name>`, `source:<name>`; the next attempt takes
-- others where there are any.
ALTER TABLE valija.deliveries ADD COLUMN avoid text[];

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.routes, valija.route_lists, valija.source_ips, valija.route_health, valija.warm_ups TO valija_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.routes, valija.route_lists TO valija_tenant;

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['routes', 'route_lists'] LOOP
    EXECUTE format('ALTER TABLE valija.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE valija.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY engine ON valija.%I TO valija_engine USING (true) WITH CHECK (true)', name);
    EXECUTE format('CREATE POLICY own_rows ON valija.%I TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()))', name);
  END LOOP;
END $$;
-- The operator's routes are there for all tenants to see, and for none to change.
CREATE POLICY shared ON valija.routes FOR SELECT TO valija_tenant USING (tenant_id IS NULL AND valija.current_tenant() IS NOT NULL);
