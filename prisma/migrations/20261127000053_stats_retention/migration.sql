-- Old hours and days are found by their place in the table, in which rows come in order of time. An index of spans and times did that too, and whenever
-- PostgreSQL knew little of the tables yet, it looked there for one tenant's names, among all tenants' rows of that hour.

DROP INDEX valija.stats_retention_idx;
DROP INDEX valija.tag_stats_retention_idx;
DROP INDEX valija.latency_stats_retention_idx;
DROP INDEX valija.stats_names_retention_idx;
CREATE INDEX stats_time_idx ON valija.stats USING brin (starts_at);
CREATE INDEX tag_stats_time_idx ON valija.tag_stats USING brin (starts_at);
CREATE INDEX latency_stats_time_idx ON valija.latency_stats USING brin (starts_at);
CREATE INDEX stats_names_time_idx ON valija.stats_names USING brin (starts_at);
