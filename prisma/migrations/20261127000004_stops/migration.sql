-- Outside a transaction: built day by day, while the days are written. One that was interrupted is begun anew.

-- Messages that were put off or stopped on request: what is searched for by these states, where recipients have no index of their state, which
-- changes with every mail. Others have no entry here.
CREATE INDEX events_asked_idx ON ONLY valija.events (tenant_id, type, message_id) WHERE type IN ('message.scheduled', 'message.cancelled');
