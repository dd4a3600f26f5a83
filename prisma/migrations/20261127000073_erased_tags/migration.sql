ALTER TABLE valija.erasures
  -- Tags that name the person, as long as it is pending: what was counted under them is counted under another name at its end.
  ADD COLUMN named_tags text[] NOT NULL DEFAULT '{}',
  -- When the oldest mail that had one was accepted.
  ADD COLUMN named_since timestamptz(3);
