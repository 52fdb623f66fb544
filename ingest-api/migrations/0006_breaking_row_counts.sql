-- Postgres tells each role how many rows each table has: its statistics, the catalog and the sizes of files are open to all. So
-- that this is not the number of reporters of an open window, a merge fills its tables up to full hundreds. What it adds
-- has a negative subject, which no reporter has, and is counted by nobody: `subject >= 0`.

-- Fills two tables with that prefix up, which have so many reporters, and returns how many rows they then have. For the other
-- functions.
CREATE FUNCTION intake.fill_up(prefix text, installations bigint, pods bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- One hundred where there is nobody, too.
    full_installations CONSTANT bigint := (greatest(installations, 1) + 99) / 100 * 100;
    full_pods CONSTANT bigint := (greatest(pods, 1) + 99) / 100 * 100;
BEGIN
    EXECUTE format(
        'INSERT INTO intake.%s_installation (subject, pod, app_version, language, platform, proxied)
         SELECT -n, -n, 0, 0, 0, false FROM generate_series($1 + 1, $2) AS n', $1) USING installations, full_installations;
    EXECUTE format(
        'INSERT INTO intake.%s_pod (subject, version, size) SELECT -n, 0, 0 FROM generate_series($1 + 1, $2) AS n', $1)
        USING pods, full_pods;
    RETURN full_installations + full_pods;
END
$$;

CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' AS $$
DECLARE
    installations bigint;
    pods bigint;
    rows bigint;
BEGIN
    PERFORM intake.take_turn();
    IF to_regclass('intake.arrived') IS NULL THEN
        RETURN;
    END IF;
    PERFORM intake.create_tables('merged');
    EXECUTE format(
        'INSERT INTO intake.merged_installation (subject, pod, app_version, language, platform, proxied)
         SELECT subject, max(pod) AS pod, max(app_version), max(language), max(platform), proxied
         FROM (SELECT * FROM intake.w%s_installation UNION ALL SELECT * FROM intake.opened_installation) AS reported
         WHERE subject >= 0 GROUP BY subject, proxied ORDER BY pod, subject, proxied', id);
    GET DIAGNOSTICS installations = ROW_COUNT;
    EXECUTE format(
        'INSERT INTO intake.merged_pod (subject, version, size) SELECT subject, max(version), max(size)
         FROM (SELECT * FROM intake.w%s_pod UNION ALL SELECT * FROM intake.opened_pod) AS reported
         WHERE subject >= 0 GROUP BY subject ORDER BY subject', id);
    GET DIAGNOSTICS pods = ROW_COUNT;
    rows := intake.fill_up('merged', installations, pods);
    EXECUTE format('DROP TABLE intake.w%1$s_installation, intake.w%1$s_pod', id);
    EXECUTE format('ALTER TABLE intake.merged_installation RENAME TO w%s_installation', id);
    EXECUTE format('ALTER TABLE intake.merged_pod RENAME TO w%s_pod', id);
    DROP TABLE intake.arrived, intake.opened_installation, intake.opened_pod;
    UPDATE intake.open_window w SET merged_rows = rows WHERE w.id = $1;
END
$$;

-- A version before this one would count what is filled up: it cannot release a window any more, also if it still runs.
ALTER FUNCTION intake.drop_window RENAME TO remove_window;

-- Windows that are open now.
DO $$
DECLARE
    present record;
    installations bigint;
    pods bigint;
BEGIN
    PERFORM intake.take_turn();
    FOR present IN SELECT w.id FROM intake.open_window w LOOP
        EXECUTE format('SELECT (SELECT count(*) FROM intake.w%1$s_installation), (SELECT count(*) FROM intake.w%1$s_pod)', present.id)
            INTO installations, pods;
        UPDATE intake.open_window w SET merged_rows = intake.fill_up(format('w%s', present.id), installations, pods)
            WHERE w.id = present.id;
    END LOOP;
END
$$;

-- When a release was written. Not known of those that a version before this one has written.
ALTER TABLE release.closed_window ADD COLUMN released_at timestamptz;
ALTER TABLE release.closed_window ALTER COLUMN released_at SET DEFAULT now();

REVOKE EXECUTE ON FUNCTION intake.fill_up FROM PUBLIC;
