-- Outside a transaction: on a table of the way of a mail, built while it is written. One that was interrupted is begun anew.

-- What endpoints are being told this moment, some hundred rows at most: looked through by a worker at its start and after PostgreSQL's
-- clock was set back, where behind the endpoint may be millions of rows that wait.
DROP INDEX CONCURRENTLY IF EXISTS valija.webhook_outbox_leased_idx;
CREATE INDEX CONCURRENTLY webhook_outbox_leased_idx ON valija.webhook_outbox (webhook_id, leased_until) WHERE leased_until IS NOT NULL;
