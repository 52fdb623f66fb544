-- Postgres tells each role how many rows each table has: its statistics, the catalog and the sizes of files are open to all. So
-- that this is not the number of reporters of an open window, a merge fills its tables up to full hundreds. What it adds
-- has a negative subject, which no reporter has, and is counted by nobody: `subject >= 0`.

CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' AS $$
DECLARE
    reporters bigint;
    installations bigint;
    pods bigint;
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
    GET DIAGNOSTICS reporters = ROW_COUNT;
    installations := (reporters + 99) / 100 * 100;
    INSERT INTO intake.merged_installation (subject, pod, app_version, language, platform, proxied)
        SELECT -n, -n, 0, 0, 0, false FROM generate_series(reporters + 1, installations) AS n;
    EXECUTE format(
        'INSERT INTO intake.merged_pod (subject, version, size) SELECT subject, max(version), max(size)
         FROM (SELECT * FROM intake.w%s_pod UNION ALL SELECT * FROM intake.opened_pod) AS reported
         WHERE subject >= 0 GROUP BY subject ORDER BY subject', id);
    GET DIAGNOSTICS reporters = ROW_COUNT;
    pods := (reporters + 99) / 100 * 100;
    INSERT INTO intake.merged_pod (subject, version, size)
        SELECT -n, 0, 0 FROM generate_series(reporters + 1, pods) AS n;
    EXECUTE format('DROP TABLE intake.w%1$s_installation, intake.w%1$s_pod', id);
    EXECUTE format('ALTER TABLE intake.merged_installation RENAME TO w%s_installation', id);
    EXECUTE format('ALTER TABLE intake.merged_pod RENAME TO w%s_pod', id);
    DROP TABLE intake.arrived, intake.opened_installation, intake.opened_pod;
    UPDATE intake.open_window w SET merged_rows = installations + pods WHERE w.id = $1;
END
$$;
