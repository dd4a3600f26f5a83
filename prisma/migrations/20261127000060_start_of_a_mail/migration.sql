-- When the time of a delivery begins to count where that is not its acceptance: the time for which it was scheduled, or was moved to last. A delivery
-- that a worker has when its message is moved keeps its own.
ALTER TABLE valija.deliveries ADD COLUMN starts_at timestamptz(3);

-- When a mail's time is over, longer by all the time since its start in which it was held: by suspensions, and by pauses of its stream. What two of
-- them have in common counts once, and what was over before its start not at all.
DROP FUNCTION valija.extended_until(uuid, uuid, text, timestamptz);
CREATE FUNCTION valija.extended_until(owner uuid, row_id uuid, row_stream text, row_start timestamptz, until timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
  pause record;
  held_to timestamptz := coalesce(row_start, valija.uuid_time(row_id));
  held_from timestamptz;
  result timestamptz := until;
BEGIN
  FOR pause IN SELECT began_at, coalesce(ended_at, now()) AS over_at FROM valija.tenant_suspensions
    WHERE tenant_id = owner AND (stream IS NULL OR stream = row_stream) ORDER BY began_at
  LOOP
    EXIT WHEN pause.began_at >= result;
    held_from := greatest(pause.began_at, held_to);
    CONTINUE WHEN pause.over_at <= held_from;
    result := result + (pause.over_at - held_from);
    held_to := pause.over_at;
  END LOOP;
  RETURN result;
END $$;
