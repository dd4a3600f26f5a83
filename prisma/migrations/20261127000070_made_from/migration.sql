-- What a message is sent again with: after how many seconds from its start on somebody is told that it is late.
ALTER TABLE valija.messages ADD COLUMN late_after integer;
-- Which version of which template it was made from, by its slug at that time.
ALTER TABLE valija.messages ADD COLUMN template_slug text, ADD COLUMN template_version integer;
