-- What is asked of a message beside its content, and what sending it again needs to know.

-- Its body is dropped as soon as no recipient is left to be sent to.
ALTER TABLE valija.messages ADD COLUMN is_sensitive boolean NOT NULL DEFAULT false;
-- It was never to leave the machine, whatever its addresses are; null: accepted by a version that did not write it down.
ALTER TABLE valija.messages ADD COLUMN is_sandbox boolean;
-- The message that was sent again with this one.
ALTER TABLE valija.messages ADD COLUMN resent_from uuid;

-- When somebody is told that this recipient's mail is not handed off yet; null: nobody wants to know, or it is told.
ALTER TABLE valija.deliveries ADD COLUMN late_at timestamptz(3);
