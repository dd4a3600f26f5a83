-- Outside a transaction: built day by day, while the days are written. One that was interrupted is begun anew.

-- Events that name an address and are about no message, as those of the suppression list are.
CREATE INDEX events_address_idx ON ONLY valija.events (tenant_id, lower(data ->> 'email')) WHERE message_id IS NULL;

-- What was caught of a message.
DROP INDEX CONCURRENTLY IF EXISTS valija.inbox_message_idx;
CREATE INDEX CONCURRENTLY inbox_message_idx ON valija.inbox (message_id);
