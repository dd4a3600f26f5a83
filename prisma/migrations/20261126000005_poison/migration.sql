-- Mails that end their worker, and mails that go once or not at all (docs/ARCHITECTURE.md, "What a crash leaves").

-- Leases in a row that ran out under this delivery, without an attempt that ended: its worker died, hung or was stopped. From
-- 3 on it is a suspect and is delivered by a process of its own (packages/flows/src/isolate-suspects.ts).
ALTER TABLE valija.deliveries ADD COLUMN crashes integer NOT NULL DEFAULT 0;

-- The lease (epoch) under which the final dot was about to go out. Written before it where a second copy must not be sent
-- blindly: for tenants that chose at_most_once, and for suspects; null for everybody else.
ALTER TABLE valija.deliveries ADD COLUMN dot_epoch bigint;

-- An attempt whose end is not known is not repeated (DESIGN 4.5).
ALTER TABLE valija.tenants ADD COLUMN at_most_once boolean NOT NULL DEFAULT false;
