-- Outside a transaction: built day by day, while the days are written. One that was interrupted is begun anew.

-- The same messages whichever of these was told of them, newest first: what is searched for by an end that only some recipients have. By the index of the
-- migration `ends` they would come by one after the other, and be asked for once each.
CREATE INDEX events_undelivered_idx ON ONLY valija.events (tenant_id, message_id) WHERE type IN ('message.bounced', 'message.failed', 'message.suppressed', 'message.cancelled');
