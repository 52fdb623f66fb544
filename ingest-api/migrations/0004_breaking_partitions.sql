-- Reports of all open windows are appended to two tables, which Postgres takes apart: a group of reports is two COPYs,
-- however many windows are open. A partition is found by the first byte of a subject, which stands for the window, so that
-- no row needs a column for it; the other seven come from the window's key.

-- No merge and no close meanwhile; then writers of the version before are waited for, in the order in which they write.
SELECT intake.take_turn();
DO $$
DECLARE
    open record;
BEGIN
    FOR open IN SELECT w.id FROM intake.open_window w WHERE w.state = 'open'
                ORDER BY array_position(ARRAY['day', 'week', 'month'], w.kind), w.starts_on LOOP
        EXECUTE format('LOCK TABLE intake.w%1$s_installation, intake.w%1$s_pod IN ACCESS EXCLUSIVE MODE', open.id);
    END LOOP;
END
$$;

CREATE TABLE intake.installation (LIKE intake.installation_template INCLUDING ALL) PARTITION BY RANGE (subject);
CREATE TABLE intake.pod (LIKE intake.pod_template INCLUDING ALL) PARTITION BY RANGE (subject);
GRANT INSERT ON intake.installation, intake.pod TO prose_intake;

-- The first byte of the window's subjects. They take turns, so that one that has been used is not used again for months.
CREATE SEQUENCE intake.slot AS smallint MINVALUE -128 MAXVALUE 127 CYCLE;
ALTER TABLE intake.open_window ADD COLUMN slot smallint;
UPDATE intake.open_window SET slot = nextval('intake.slot');
ALTER TABLE intake.open_window ALTER COLUMN slot SET NOT NULL, ADD CONSTRAINT open_window_slot UNIQUE (slot);

-- Makes a table of a window, without rows. For the other functions.
CREATE FUNCTION intake.create_table(name text, template text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    EXECUTE format('CREATE TABLE intake.%I (LIKE intake.%I INCLUDING ALL)', $1, $2);
    EXECUTE format('GRANT SELECT ON intake.%I TO prose_release', $1);
END
$$;

-- Makes the two tables of an open window, and lets writers write to them.
CREATE FUNCTION intake.attach(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    least bigint;
    bounds text;
    kind text;
BEGIN
    SELECT w.slot::bigint << 56 INTO STRICT least FROM intake.open_window w WHERE w.id = $1;
    -- After the last slot there is no number.
    bounds := format('FROM (%L) TO (%s)', least,
        CASE WHEN least >> 56 = 127 THEN 'MAXVALUE' ELSE quote_literal(least + (1::bigint << 56)) END);
    FOREACH kind IN ARRAY ARRAY['installation', 'pod'] LOOP
        PERFORM intake.create_table(format('w%s_%s', id, kind), kind || '_template');
        EXECUTE format('ALTER TABLE intake.%I ATTACH PARTITION intake.w%s_%s FOR VALUES %s', kind, id, kind, bounds);
    END LOOP;
END
$$;

-- Takes the two tables of an open window away from writers, and gives them another name. It waits for those that are in the
-- middle of a commit, and those that come meanwhile wait for it; so it gives up soon if somebody else reads the tables, for
-- example to dump them: error PA002.
CREATE FUNCTION intake.detach(id integer, prefix text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s' AS $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['installation', 'pod'] LOOP
        EXECUTE format('ALTER TABLE intake.%I DETACH PARTITION intake.w%s_%s', kind, id, kind);
        EXECUTE format('ALTER TABLE intake.w%s_%s RENAME TO %I', id, kind, format('%s%s_%s', prefix, id, kind));
    END LOOP;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'somebody reads the reports of an open window' USING ERRCODE = 'PA002';
END
$$;

-- How many rows two tables of a window have together.
CREATE FUNCTION intake.count_rows(id integer, prefix text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    present bigint;
BEGIN
    EXECUTE format('SELECT (SELECT count(*) FROM intake.%2$s%1$s_installation) + (SELECT count(*) FROM intake.%2$s%1$s_pod)',
        id, prefix) INTO present;
    RETURN present;
END
$$;

-- Opens a window with its two tables, unless it is open or has been released. It waits for nobody's turn: what is
-- merged or closed is another window.
CREATE OR REPLACE FUNCTION intake.create_window(kind text, starts_on date, key_check bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    opened integer;
    free smallint;
BEGIN
    -- There are far fewer windows than slots.
    LOOP
        free := nextval('intake.slot');
        EXIT WHEN NOT EXISTS (SELECT FROM intake.open_window w WHERE w.slot = free);
    END LOOP;
    INSERT INTO intake.open_window AS w (kind, starts_on, key_check, slot) VALUES ($1, $2, $3, free)
        ON CONFLICT ON CONSTRAINT open_window_once DO NOTHING RETURNING w.id INTO opened;
    IF opened IS NULL THEN
        RETURN;
    END IF;
    -- Only now: a release removes the row of its window in the transaction that writes it, and has been waited for.
    IF EXISTS (SELECT FROM release.closed_window c WHERE c.kind = $1 AND c.starts_on = $2) THEN
        DELETE FROM intake.open_window w WHERE w.id = opened;
        RETURN;
    END IF;
    PERFORM intake.attach(opened);
END
$$;

-- Puts what has been reported aside, to be merged; writers go on in new tables. Returns whether there is something to merge.
CREATE OR REPLACE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    merged bigint;
BEGIN
    PERFORM intake.take_turn();
    SELECT w.merged_rows INTO merged FROM intake.open_window w WHERE w.id = $1 AND w.state = 'open';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF to_regclass(format('intake.merging%s_installation', id)) IS NOT NULL THEN
        RETURN true;
    END IF;
    IF intake.count_rows(id, 'w') = merged THEN
        RETURN false;
    END IF;
    PERFORM intake.detach(id, 'merging');
    PERFORM intake.attach(id);
    RETURN true;
END
$$;

-- Merges what was put aside, value by value to the greater one, and writes it in the order of Pods and subjects, which are
-- random: it tells nothing about the order of arrival. Does nothing if nothing was put aside.
CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET work_mem = '64MB' AS $$
DECLARE
    state text;
    merged bigint;
    target text;
    installations bigint;
    pods bigint;
BEGIN
    PERFORM intake.take_turn();
    SELECT w.state, w.merged_rows INTO state, merged FROM intake.open_window w WHERE w.id = $1;
    IF NOT FOUND OR to_regclass(format('intake.merging%s_installation', id)) IS NULL THEN
        RETURN;
    END IF;
    IF state = 'closing' AND intake.count_rows(id, 'merging') = merged THEN
        -- Nothing has come since the last merge.
        EXECUTE format('DROP TABLE intake.closing%1$s_installation, intake.closing%1$s_pod', id);
        EXECUTE format('ALTER TABLE intake.merging%1$s_installation RENAME TO closing%1$s_installation', id);
        EXECUTE format('ALTER TABLE intake.merging%1$s_pod RENAME TO closing%1$s_pod', id);
        RETURN;
    END IF;
    target := format('intake.%s%s', CASE state WHEN 'open' THEN 'w' ELSE 'closing' END, id);
    EXECUTE format(
        'INSERT INTO %s_installation (subject, pod, app_version, language, platform, proxied)
         SELECT subject, max(pod) AS pod, max(app_version), max(language), max(platform), proxied
         FROM intake.merging%s_installation GROUP BY subject, proxied ORDER BY pod, subject, proxied', target, id);
    GET DIAGNOSTICS installations = ROW_COUNT;
    EXECUTE format(
        'INSERT INTO %s_pod (subject, version, size)
         SELECT subject, max(version), max(size) FROM intake.merging%s_pod GROUP BY subject ORDER BY subject',
        target, id);
    GET DIAGNOSTICS pods = ROW_COUNT;
    EXECUTE format('DROP TABLE intake.merging%1$s_installation, intake.merging%1$s_pod', id);
    -- Rows that writers have appended meanwhile are none of these: the next merge has something to do.
    UPDATE intake.open_window w SET merged_rows = installations + pods WHERE w.id = $1;
END
$$;

-- Takes the tables of an open window away from the writers: puts them aside, to be merged into the tables of the close.
CREATE OR REPLACE FUNCTION intake.begin_closing(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1 AND w.state = 'open') THEN
        RETURN;
    END IF;
    -- A merge that was killed half-way.
    PERFORM intake.finish_merging(id);
    UPDATE intake.open_window w SET state = 'closing' WHERE w.id = $1;
    PERFORM intake.create_table(format('closing%s_installation', id), 'installation_template');
    PERFORM intake.create_table(format('closing%s_pod', id), 'pod_template');
    PERFORM intake.detach(id, 'merging');
END
$$;

-- Windows that are open now go on: their subjects give their last byte for that of the window, and keep the others. What an
-- instance of the version before still wants to write is refused, as it has no right to these tables, and is sent again.
DO $$
DECLARE
    open record;
    prefix text;
BEGIN
    FOR open IN SELECT w.id, w.slot::bigint << 56 AS least FROM intake.open_window w WHERE w.state = 'open' LOOP
        EXECUTE format('ALTER TABLE intake.w%1$s_installation RENAME TO before%1$s_installation', open.id);
        EXECUTE format('ALTER TABLE intake.w%1$s_pod RENAME TO before%1$s_pod', open.id);
        PERFORM intake.attach(open.id);
        FOREACH prefix IN ARRAY ARRAY['before', 'merging'] LOOP
            CONTINUE WHEN to_regclass(format('intake.%s%s_pod', prefix, open.id)) IS NULL;
            EXECUTE format(
                'INSERT INTO intake.installation (subject, pod, app_version, language, platform, proxied)
                 SELECT $1 | (subject >> 8 & $2), $1 | (pod >> 8 & $2), app_version, language, platform, proxied
                 FROM intake.%s%s_installation', prefix, open.id) USING open.least, x'ffffffffffffff'::bigint;
            EXECUTE format(
                'INSERT INTO intake.pod (subject, version, size)
                 SELECT $1 | (subject >> 8 & $2), version, size FROM intake.%s%s_pod',
                prefix, open.id) USING open.least, x'ffffffffffffff'::bigint;
            EXECUTE format('DROP TABLE intake.%1$s%2$s_installation, intake.%1$s%2$s_pod', prefix, open.id);
        END LOOP;
        UPDATE intake.open_window w SET merged_rows = 0 WHERE w.id = open.id;
    END LOOP;
END
$$;

DROP FUNCTION intake.create_tables(text, integer);
-- The functions of other functions.
REVOKE EXECUTE ON FUNCTION intake.create_table, intake.attach, intake.detach, intake.count_rows FROM PUBLIC;

-- Turns are taken by a lock that no role but the owner can take: an advisory one is anybody's.
CREATE TABLE intake.turn (taken boolean);
LOCK TABLE intake.turn IN EXCLUSIVE MODE;
CREATE OR REPLACE FUNCTION intake.take_turn() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '5s' AS $$
BEGIN
    -- Not in the way of whoever reads it, to dump it.
    LOCK TABLE intake.turn IN EXCLUSIVE MODE;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'another instance is merging or closing a window' USING ERRCODE = 'PA001';
END
$$;

-- What runs as the owner finds types where it expects them, and not among the temporary ones of whoever calls: those are
-- looked for first wherever they are not named.
DO $$
DECLARE
    function record;
BEGIN
    FOR function IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                    WHERE n.nspname IN ('intake', 'release', 'access', 'optin') AND p.prosecdef LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', function.name);
    END LOOP;
END
$$;
