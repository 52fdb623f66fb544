-- What has been reported since the last merge is sealed, outside of this database, under the key of its window: the order in
-- which it lies, and what was committed together, tell nothing to whoever does not have the key. A merge opens it, and
-- writes one row a reporter in an order that tells nothing either.

-- No merge and no close meanwhile, and no writer of the version before.
SELECT intake.take_turn();
LOCK TABLE intake.installation, intake.pod IN ACCESS EXCLUSIVE MODE;

-- What has come since the last merge.
CREATE TABLE intake.arrival (
    window_id   integer NOT NULL,
    -- Rows of that window; see ingest-api/src/intake/sealed.rs. Each is short enough to lie in a page with others.
    sealed      bytea NOT NULL CONSTRAINT arrival_length CHECK (length(sealed) BETWEEN 41 AND 2000)
);
-- Nothing is gained by compressing what looks random.
ALTER TABLE intake.arrival ALTER COLUMN sealed SET STORAGE EXTERNAL;
-- All rows go with each merge: their places are free soon, however large the table has been.
ALTER TABLE intake.arrival SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1);

-- Adds sealed rows to windows, the first to the first and so on: all of them, or none if a window is not open any more.
CREATE FUNCTION intake.append(window_ids integer[], sealed bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A close takes a lock that waits for this one; and what it has committed is seen by the statement after this, unless
    -- all of a transaction sees what was before it.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'reports are written in transactions that are read committed' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    LOCK TABLE intake.arrival IN ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT unnest(window_ids) EXCEPT SELECT w.id FROM intake.open_window w WHERE w.state = 'open') THEN
        RETURN false;
    END IF;
    INSERT INTO intake.arrival SELECT * FROM unnest(window_ids, sealed);
    RETURN true;
END
$$;

-- How many bytes have come to a window since its last merge.
CREATE FUNCTION intake.waiting_bytes(id integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(length(a.sealed)), 0) FROM intake.arrival a WHERE a.window_id = $1
$$;

-- Whoever opens windows opens none that nobody else can read, or that is none.
ALTER TABLE intake.open_window ADD CONSTRAINT open_window_starts
    CHECK (starts_on BETWEEN '2000-01-01' AND '9999-01-01' AND starts_on = date_trunc(kind, starts_on::timestamp)::date);

-- Opens a window with its two tables, unless it is open or has been released. It waits for nobody's turn: what is
-- merged or closed is another window.
CREATE OR REPLACE FUNCTION intake.create_window(kind text, starts_on date, key_check bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opened integer;
BEGIN
    INSERT INTO intake.open_window AS w (kind, starts_on, key_check) VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT open_window_once DO NOTHING RETURNING w.id INTO opened;
    IF opened IS NULL THEN
        RETURN;
    END IF;
    -- Only now: a release removes the row of its window in the transaction that writes it, and has been waited for.
    IF EXISTS (SELECT FROM release.closed_window c WHERE c.kind = $1 AND c.starts_on = $2) THEN
        DELETE FROM intake.open_window w WHERE w.id = opened;
        RETURN;
    END IF;
    PERFORM intake.create_tables(format('w%s', opened));
END
$$;

-- Makes the two tables of a window under a prefix. For the other functions.
CREATE FUNCTION intake.create_tables(prefix text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['installation', 'pod'] LOOP
        EXECUTE format('CREATE TABLE intake.%s_%s (LIKE intake.%s_template INCLUDING ALL)', $1, kind, kind);
        EXECUTE format('GRANT SELECT ON intake.%s_%s TO prose_release', $1, kind);
    END LOOP;
END
$$;

-- Sees that nobody else reads the tables of a window until the end of the transaction; gives up soon if somebody does: error
-- PA002. For the other functions.
CREATE FUNCTION intake.lock_tables(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('LOCK TABLE intake.w%1$s_installation, intake.w%1$s_pod IN ACCESS EXCLUSIVE MODE', id);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'somebody reads the reports of an open window' USING ERRCODE = 'PA002';
END
$$;

-- The first of two steps of a merge, which are one transaction: moves what has come to a window to intake.arrived, and returns
-- whether there is any. Whoever has the key then opens them into intake.opened_installation and
-- intake.opened_pod. Writers do not wait for a merge. These three tables are in no write-ahead log.
CREATE OR REPLACE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1)
       OR NOT EXISTS (SELECT FROM intake.arrival a WHERE a.window_id = $1) THEN
        RETURN false;
    END IF;
    -- Now rather than when all is opened: not in vain, if somebody reads the window.
    PERFORM intake.lock_tables(id);
    CREATE UNLOGGED TABLE intake.arrived (sealed bytea NOT NULL);
    ALTER TABLE intake.arrived ALTER COLUMN sealed SET STORAGE EXTERNAL;
    CREATE UNLOGGED TABLE intake.opened_installation (LIKE intake.installation_template INCLUDING ALL);
    CREATE UNLOGGED TABLE intake.opened_pod (LIKE intake.pod_template INCLUDING ALL);
    GRANT SELECT ON intake.arrived TO prose_release;
    GRANT INSERT ON intake.opened_installation, intake.opened_pod TO prose_release;
    WITH gone AS (DELETE FROM intake.arrival a WHERE a.window_id = $1 RETURNING a.sealed)
        INSERT INTO intake.arrived SELECT g.sealed FROM gone g;
    RETURN true;
END
$$;

-- The second step: merges what was opened with what the window has, value by value to the greater one, and writes it in the
-- order of Pods and subjects, which are random: it tells nothing about the order of arrival. Does nothing without the first.
CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' AS $$
DECLARE
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
         GROUP BY subject, proxied ORDER BY pod, subject, proxied', id);
    GET DIAGNOSTICS installations = ROW_COUNT;
    EXECUTE format(
        'INSERT INTO intake.merged_pod (subject, version, size) SELECT subject, max(version), max(size)
         FROM (SELECT * FROM intake.w%s_pod UNION ALL SELECT * FROM intake.opened_pod) AS reported
         GROUP BY subject ORDER BY subject', id);
    GET DIAGNOSTICS pods = ROW_COUNT;
    EXECUTE format('DROP TABLE intake.w%1$s_installation, intake.w%1$s_pod', id);
    EXECUTE format('ALTER TABLE intake.merged_installation RENAME TO w%s_installation', id);
    EXECUTE format('ALTER TABLE intake.merged_pod RENAME TO w%s_pod', id);
    DROP TABLE intake.arrived, intake.opened_installation, intake.opened_pod;
    UPDATE intake.open_window w SET merged_rows = installations + pods WHERE w.id = $1;
END
$$;

-- Ends the time of a window: waits for writers that are in the middle of a commit, and later ones are refused. What has come is still to
-- be merged. Those that come meanwhile wait for it; so it gives up soon if somebody stays in the middle: error PA002.
CREATE OR REPLACE FUNCTION intake.begin_closing(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    PERFORM intake.take_turn();
    BEGIN
        -- Not in the way of whoever reads it, to dump it.
        LOCK TABLE intake.arrival IN SHARE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE EXCEPTION 'somebody is writing to the open windows' USING ERRCODE = 'PA002';
    END;
    UPDATE intake.open_window w SET state = 'closing' WHERE w.id = $1 AND w.state = 'open';
END
$$;

-- Removes a window that is being closed with its rows, in the transaction that writes its release. Not if something has not been
-- merged.
CREATE OR REPLACE FUNCTION intake.drop_window(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing';
    IF FOUND THEN
        IF EXISTS (SELECT FROM intake.arrival a WHERE a.window_id = $1) THEN
            RAISE EXCEPTION 'something in the window has not been merged' USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        PERFORM intake.lock_tables(id);
        EXECUTE format('DROP TABLE intake.w%1$s_installation, intake.w%1$s_pod', id);
    END IF;
END
$$;

-- Windows of the version before go on: merged, and without the byte of each subject that said which window it was of.
DO $$
DECLARE
    present record;
    prefix text;
BEGIN
    PERFORM intake.create_tables('before');
    FOR present IN SELECT w.id FROM intake.open_window w LOOP
        FOREACH prefix IN ARRAY ARRAY['w', 'merging', 'closing'] LOOP
            CONTINUE WHEN to_regclass(format('intake.%s%s_pod', prefix, present.id)) IS NULL;
            EXECUTE format(
                'INSERT INTO intake.before_installation (subject, pod, app_version, language, platform, proxied)
                 SELECT subject, pod, app_version, language, platform, proxied FROM intake.%s%s_installation', prefix, present.id);
            EXECUTE format(
                'INSERT INTO intake.before_pod (subject, version, size) SELECT subject, version, size FROM intake.%s%s_pod',
                prefix, present.id);
            EXECUTE format('DROP TABLE intake.%1$s%2$s_installation, intake.%1$s%2$s_pod', prefix, present.id);
        END LOOP;
        PERFORM intake.create_tables(format('w%s', present.id));
        EXECUTE format(
            'INSERT INTO intake.w%s_installation (subject, pod, app_version, language, platform, proxied)
             SELECT subject & $1, max(pod & $1) AS pod, max(app_version), max(language), max(platform), proxied
             FROM intake.before_installation GROUP BY subject, proxied ORDER BY pod, subject, proxied', present.id)
            USING x'ffffffffffffff'::bigint;
        EXECUTE format(
            'INSERT INTO intake.w%s_pod (subject, version, size) SELECT subject & $1, max(version), max(size)
             FROM intake.before_pod GROUP BY subject ORDER BY subject', present.id)
            USING x'ffffffffffffff'::bigint;
        EXECUTE format(
            'UPDATE intake.open_window w SET merged_rows = (SELECT count(*) FROM intake.w%1$s_installation)
                 + (SELECT count(*) FROM intake.w%1$s_pod) WHERE w.id = $1', present.id) USING present.id;
        TRUNCATE intake.before_installation, intake.before_pod;
    END LOOP;
    DROP TABLE intake.before_installation, intake.before_pod;
END
$$;

DROP TABLE intake.installation, intake.pod;
ALTER TABLE intake.open_window DROP COLUMN slot;
DROP SEQUENCE intake.slot;
DROP FUNCTION intake.create_table, intake.attach, intake.detach, intake.count_rows;
REVOKE EXECUTE ON FUNCTION intake.append, intake.waiting_bytes, intake.create_tables, intake.lock_tables FROM PUBLIC;
GRANT EXECUTE ON FUNCTION intake.append TO prose_intake;
GRANT EXECUTE ON FUNCTION intake.waiting_bytes TO prose_release;
