-- Outside a transaction: built day by day, while the days are written. One that was interrupted is begun anew.

-- Recipients that did not get their mail at once, newest first: what is searched for by reason and by an end that is none of delivery. The others have
-- no reason and no entry here, so a mail that is delivered pays nothing for it.
CREATE INDEX recipients_reason_idx ON ONLY valija.recipients (tenant_id, reason, id) WHERE reason IS NOT NULL;
CREATE INDEX recipients_troubled_idx ON ONLY valija.recipients (tenant_id, id) WHERE reason IS NOT NULL;
