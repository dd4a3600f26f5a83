-- When a mail's content was deleted by its tenant's redact_after_days, and when by an erasure of everybody whom it went to; null: it was not, or by
-- a version that did not write it down. That it is gone for another reason is told by what there is.
ALTER TABLE valija.messages ADD COLUMN redacted_at timestamptz(3), ADD COLUMN erased_at timestamptz(3);
