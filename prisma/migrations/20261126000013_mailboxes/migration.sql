-- Mailboxes in which bounces and complaints land because mail went through a relay (docs/operations.md, "Bounces in a mailbox").
--
-- Prisma owns mailboxes; workers write its last columns by hand. By hand: mailbox_mails.

-- Without a tenant it is the operator's: reports in it are about mails of any tenant.
CREATE TABLE valija.mailboxes (
  id uuid NOT NULL,
  tenant_id uuid,
  name text NOT NULL,
  protocol text NOT NULL,
  host text NOT NULL,
  port integer NOT NULL,
  tls text NOT NULL,
  username text NOT NULL,
  -- Sealed with SECRET_KEY for this tenant and mailbox (packages/core/src/seal.ts).
  password bytea NOT NULL,
  -- Of IMAP: which folder is read, and where what was applied is moved to.
  folder text,
  done_folder text,
  state text NOT NULL DEFAULT 'enabled',
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  -- What workers write from here on. The one that looks after it, and until when it is believed.
  holder uuid,
  held_until timestamptz(3),
  next_look_at timestamptz(3) NOT NULL DEFAULT now(),
  -- The last look that went well.
  looked_at timestamptz(3),
  -- Looks that failed since then; all null and 0 while it goes well.
  failing_since timestamptz(3),
  failures integer NOT NULL DEFAULT 0,
  error_code text,
  error_detail text,
  -- Mails so far, by what they came to.
  applied_count bigint NOT NULL DEFAULT 0,
  report_count bigint NOT NULL DEFAULT 0,
  ignored_count bigint NOT NULL DEFAULT 0,
  other_count bigint NOT NULL DEFAULT 0,
  CONSTRAINT mailboxes_pkey PRIMARY KEY (id),
  CONSTRAINT mailboxes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES valija.tenants (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT mailboxes_protocol_check CHECK (protocol IN ('imap', 'pop3')),
  CONSTRAINT mailboxes_port_check CHECK (port BETWEEN 1 AND 65535),
  CONSTRAINT mailboxes_tls_check CHECK (tls IN ('implicit', 'starttls', 'none')),
  CONSTRAINT mailboxes_folder_check CHECK ((protocol = 'imap') = (folder IS NOT NULL) AND (protocol = 'imap') = (done_folder IS NOT NULL)),
  CONSTRAINT mailboxes_state_check CHECK (state IN ('enabled', 'paused'))
);
CREATE INDEX mailboxes_tenant_id_id_idx ON valija.mailboxes (tenant_id, id);

-- Mails that were read and stay where they are, because they are not ours to move or delete: they are not read again.
CREATE TABLE valija.mailbox_mails (
  mailbox_id uuid NOT NULL,
  -- POP3's unique-id (RFC 1939 section 7), or UIDVALIDITY and UID (RFC 9051 section 2.3.1.1) as `validity.uid`.
  uid text NOT NULL,
  CONSTRAINT mailbox_mails_pkey PRIMARY KEY (mailbox_id, uid),
  CONSTRAINT mailbox_mails_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES valija.mailboxes (id) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.mailboxes, valija.mailbox_mails TO valija_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON valija.mailboxes TO valija_tenant;

ALTER TABLE valija.mailboxes ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.mailboxes FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.mailboxes TO valija_engine USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON valija.mailboxes TO valija_tenant USING (tenant_id = (SELECT valija.current_tenant())) WITH CHECK (tenant_id = (SELECT valija.current_tenant()));
