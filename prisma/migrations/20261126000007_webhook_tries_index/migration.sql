-- "Was this event told to that endpoint?", asked when an endpoint is enabled again, of tries since it was disabled, which is known from
-- this version on. So days that have tries already go without, and nothing is read here: an index on a day of many tries takes long,
-- and meanwhile none could be written.
CREATE INDEX webhook_tries_event_idx ON ONLY valija.webhook_tries (webhook_id, event_id);
DO $$
DECLARE part record;
BEGIN
  FOR part IN
    SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'valija.webhook_tries'::regclass AND pg_relation_size(c.oid) = 0
  LOOP
    EXECUTE format('CREATE INDEX %I ON valija_parts.%I (webhook_id, event_id)', part.name || '_event_idx', part.name);
    EXECUTE format('ALTER INDEX valija.webhook_tries_event_idx ATTACH PARTITION valija_parts.%I', part.name || '_event_idx');
  END LOOP;
END $$;
