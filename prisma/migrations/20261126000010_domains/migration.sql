-- Sender domains: what exactly is wrong with a record and which resolver said so, checks by the clock, the grace of a domain whose
-- proof is gone, a return-path host of its own, and DKIM keys that follow one another without a gap.

ALTER TABLE valija.domains
  -- The return path's name below the domain: an alias (CNAME) of VALIJA_BOUNCE_DOMAIN.
  ADD COLUMN return_path_label text NOT NULL DEFAULT 'bounce',
  ADD COLUMN verified_at timestamptz(3),
  -- Since when the proof of a verified domain is missing in the DNS; sending stops when that has lasted.
  ADD COLUMN failing_since timestamptz(3),
  -- When the DNS is asked next, by any worker. What there is already is looked at soon.
  ADD COLUMN next_check_at timestamptz(3) NOT NULL DEFAULT now();
CREATE INDEX domains_next_check_at_idx ON valija.domains (next_check_at);

ALTER TABLE valija.dkim_keys
  -- next: its record is waited for; active: signs; retiring: signs no more, and its record stays while mail is under way.
  ADD COLUMN state text NOT NULL DEFAULT 'active',
  -- Given by the tenant, not made here.
  ADD COLUMN is_own boolean NOT NULL DEFAULT false,
  -- Until when the record of a retiring key has to stay.
  ADD COLUMN retires_at timestamptz(3);
ALTER TABLE valija.dkim_keys ADD CONSTRAINT dkim_keys_state_check CHECK (state IN ('next', 'active', 'retiring'));

ALTER TABLE valija.domain_checks
  -- A word of packages/mail/src/record-fault.ts.
  ADD COLUMN fault_code text,
  -- Which resolver said it.
  ADD COLUMN resolver text;
