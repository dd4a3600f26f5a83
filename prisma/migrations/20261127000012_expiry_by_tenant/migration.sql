-- Outside a transaction: on a table of the way of a mail, built while it is written. One that was interrupted is begun anew.

-- By tenant: the time of a suspended one does not run on, so its rows must not stand before the others.
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_tenant_expiry_idx;
CREATE INDEX CONCURRENTLY deliveries_tenant_expiry_idx ON valija.deliveries (tenant_id, expires_at) WHERE state = 'waiting';
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_expiry_idx;
