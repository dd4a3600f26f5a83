-- Outside a transaction: on tables of the way of a mail, built while they are written. One that was interrupted is begun anew.

-- The rows of a batch that was told, and when the next is due.
DROP INDEX CONCURRENTLY IF EXISTS valija.webhook_outbox_batch_idx;
CREATE INDEX CONCURRENTLY webhook_outbox_batch_idx ON valija.webhook_outbox (webhook_id, batch_id) WHERE batch_id IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS valija.webhook_outbox_batch_due_idx;
CREATE INDEX CONCURRENTLY webhook_outbox_batch_due_idx ON valija.webhook_outbox (webhook_id, due_at) WHERE batch_id IS NOT NULL;

-- Deliveries that had part in too many crashes. There are few, or none.
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_suspects_idx;
CREATE INDEX CONCURRENTLY deliveries_suspects_idx ON valija.deliveries (recipient_id) WHERE crashes >= 3;

-- What each tenant has in flight, counted by the dispatcher in each round and by accept for its tenants. Small: only rows that the
-- workers have, or were told of.
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_in_flight_idx;
CREATE INDEX CONCURRENTLY deliveries_in_flight_idx ON valija.deliveries (tenant_id, stream, state) WHERE state IN ('admitted', 'leased');
