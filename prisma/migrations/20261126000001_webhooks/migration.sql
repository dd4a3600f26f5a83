-- Webhooks: secrets that overlap, batches, and telling again (docs/api-guide.md, "Webhooks").
--
-- The version before this one goes on working: it signs with every secret in `secret`, tells batches event by event, and leaves
-- `webhook_replays` to workers of this version.

ALTER TABLE valija.webhooks
  -- Until when each former secret in `secret` signs as well, newest first.
  ADD COLUMN former_secrets_end timestamptz(3)[] NOT NULL DEFAULT '{}',
  -- Since when it has not been told of what happened.
  ADD COLUMN disabled_at timestamptz(3),
  -- Both null: each event by itself.
  ADD COLUMN batch_max_events integer,
  ADD COLUMN batch_max_wait_ms integer,
  ADD CONSTRAINT webhooks_batch_check CHECK ((batch_max_events IS NULL) = (batch_max_wait_ms IS NULL));
CREATE INDEX webhooks_batch_idx ON valija.webhooks (id) WHERE batch_max_events IS NOT NULL;

-- The batch that the event was first told in; it stays in it until it is told.
ALTER TABLE valija.webhook_outbox ADD COLUMN batch_id uuid;

ALTER TABLE valija.webhook_tries ADD COLUMN batch_id uuid;

-- What an endpoint is to be told again, or was not told while it was disabled: done in steps by any worker, each step one
-- transaction that also writes how far it is, and gone with the last.
CREATE TABLE valija.webhook_replays (
  id uuid NOT NULL,
  tenant_id uuid NOT NULL,
  webhook_id uuid NOT NULL,
  -- `waiting`: what waits for a later try is due now. `range`: events of a time are told.
  kind text NOT NULL,
  -- Of a range: at or after, and before.
  after_at timestamptz(3),
  before_at timestamptz(3),
  -- Of a range: only these; null: all that the endpoint asks for.
  types text[],
  -- Of a range: events that were told already are left out.
  skips_told boolean NOT NULL DEFAULT false,
  -- How far it is: in a range in the order of the stream, in what waits by the event's id.
  done_transaction xid8 NOT NULL DEFAULT '0',
  done_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  created_at timestamptz(3) NOT NULL DEFAULT now(),
  CONSTRAINT webhook_replays_pkey PRIMARY KEY (id),
  CONSTRAINT webhook_replays_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES valija.webhooks (id) ON DELETE CASCADE,
  CONSTRAINT webhook_replays_kind_check CHECK (kind IN ('waiting', 'range')),
  CONSTRAINT webhook_replays_range_check CHECK ((kind = 'range') = (after_at IS NOT NULL AND before_at IS NOT NULL))
);
CREATE INDEX webhook_replays_webhook_idx ON valija.webhook_replays (webhook_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON valija.webhook_replays TO valija_engine;
ALTER TABLE valija.webhook_replays ENABLE ROW LEVEL SECURITY;
ALTER TABLE valija.webhook_replays FORCE ROW LEVEL SECURITY;
CREATE POLICY engine ON valija.webhook_replays TO valija_engine USING (true) WITH CHECK (true);
