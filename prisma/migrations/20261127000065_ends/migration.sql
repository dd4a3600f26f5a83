-- Outside a transaction: built day by day, while the days are written. One that was interrupted is begun anew.

-- Messages of which one of these was told, newest first: what is searched for by an end that is none of delivery. A mail that is delivered has no entry.
CREATE INDEX events_ended_idx ON ONLY valija.events (tenant_id, type, message_id) WHERE type IN ('message.bounced', 'message.failed', 'message.suppressed');
-- Messages that can end in several ways at once, newest first.
CREATE INDEX messages_several_idx ON ONLY valija.messages (tenant_id, id) WHERE recipient_count > 1;
