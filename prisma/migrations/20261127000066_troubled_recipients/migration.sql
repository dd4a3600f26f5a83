-- What ended otherwise than by delivery is found by what was told of it (the migration `ends`). This index had all that waits for a retry in it too.
DROP INDEX valija.recipients_troubled_idx;
