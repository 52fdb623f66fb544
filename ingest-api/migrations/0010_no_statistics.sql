-- Postgres keeps a sample of each column, to plan by. Of what waits to be merged, that would stay in its catalogue when the pieces
-- have long been taken; and no plan follows from it, as a part is always read from its beginning. Under load, taking samples was an
-- eighth of Postgres' work.
ALTER TABLE intake.arrival ALTER COLUMN sealed SET STATISTICS 0;
ALTER TABLE intake.arrival_day SET (autovacuum_analyze_threshold = 2147483647);
ALTER TABLE intake.arrival_week SET (autovacuum_analyze_threshold = 2147483647);
ALTER TABLE intake.arrival_month SET (autovacuum_analyze_threshold = 2147483647);

-- What has been sampled is forgotten with a change of type, also if it is to the same one.
ALTER TABLE intake.arrival ALTER COLUMN sealed TYPE bytea;
