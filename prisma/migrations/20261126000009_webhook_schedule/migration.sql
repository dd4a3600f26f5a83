-- Tries of a waiting event that somebody asked for (POST /webhooks/:id/replay). They are beside the schedule: an endpoint that still
-- fails is tried next as late as it was before, and no later.
ALTER TABLE valija.webhook_outbox ADD COLUMN asked_tries integer NOT NULL DEFAULT 0;
