-- Bulk mail of a tenant that is held while its other mail goes on, by itself or by the operator (packages/store/src/pause-bulk.ts).

-- Since when it is; null: it is not.
ALTER TABLE valija.tenants ADD COLUMN bulk_paused_at timestamptz(3);
-- Why: the figures that led to it.
ALTER TABLE valija.tenants ADD COLUMN bulk_pause jsonb;
-- When it was let go last: what was told in the hours before counts against it no more.
ALTER TABLE valija.tenants ADD COLUMN bulk_resumed_at timestamptz(3);
CREATE INDEX tenants_bulk_paused_idx ON valija.tenants (id) WHERE bulk_paused_at IS NOT NULL;

-- Null: of all mail.
ALTER TABLE valija.tenant_suspensions ADD COLUMN stream text;

-- When a mail was accepted, by its id.
CREATE FUNCTION valija.uuid_time(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) $$;

-- When a mail's time is over, longer by all the time in which it was held: by suspensions, in which nothing is accepted, and by pauses of its stream, of
-- which a mail that was accepted meanwhile has met the rest. What two of them have in common counts once.
DROP FUNCTION valija.extended_until(uuid, uuid, timestamptz);
CREATE FUNCTION valija.extended_until(owner uuid, row_id uuid, row_stream text, until timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  pause record;
  accepted_at timestamptz := valija.uuid_time(row_id);
  held_from timestamptz;
  held_to timestamptz := '-infinity';
  result timestamptz := until;
BEGIN
  FOR pause IN SELECT began_at, coalesce(ended_at, now()) AS over_at, stream FROM valija.tenant_suspensions
    WHERE tenant_id = owner AND (stream IS NULL OR stream = row_stream) ORDER BY began_at
  LOOP
    EXIT WHEN pause.began_at >= result;
    held_from := greatest(pause.began_at, held_to, CASE WHEN pause.stream IS NOT NULL THEN accepted_at END);
    CONTINUE WHEN pause.over_at <= greatest(held_from, accepted_at);
    result := result + (pause.over_at - held_from);
    held_to := pause.over_at;
  END LOOP;
  RETURN result;
END $$;
