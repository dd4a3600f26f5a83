-- Outside a transaction: on tables of the way of a mail, built while they are written. One that was interrupted is begun anew.

-- Which delivery is late next. Only those that somebody wants to hear of.
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_late_idx;
CREATE INDEX CONCURRENTLY deliveries_late_idx ON valija.deliveries (late_at) WHERE late_at IS NOT NULL;

-- Whose time is over next, of those that nobody works on. What is taken up at once never comes into it.
DROP INDEX CONCURRENTLY IF EXISTS valija.deliveries_expiry_idx;
CREATE INDEX CONCURRENTLY deliveries_expiry_idx ON valija.deliveries (expires_at) WHERE state = 'waiting';
