-- Delivery to mail exchangers: what a message asks of TLS, and why a delivery waits.

ALTER TABLE valija.messages ADD COLUMN require_tls boolean NOT NULL DEFAULT false;

-- Why a waiting row waits, other than for its own time: what holds it, a colon, and whose (packages/flows/src/deliver-recipients.ts);
-- null for none.
ALTER TABLE valija.deliveries ADD COLUMN hold text;
-- Whatever held rows is asked for them when it is over.
CREATE INDEX deliveries_hold_idx ON valija.deliveries (hold, recipient_id) WHERE hold IS NOT NULL;
