ALTER TABLE valija.erasures
  -- Of `open_message_ids` those whose content was changed before anybody had begun to send them; what others were told is looked at when they have their end.
  ADD COLUMN changed_message_ids uuid[] NOT NULL DEFAULT '{}',
  -- How often in a row a step failed: the pauses between them grow.
  ADD COLUMN failures integer NOT NULL DEFAULT 0;
