-- What is merged is known by its number of rows: the size of a table does not change while its last page fills up, and
-- has grown by what writers appended during a merge when the merge is done.
ALTER TABLE intake.open_window DROP COLUMN merged_bytes;
-- Rows that the last merge wrote to the two tables of the window together. All others came after it began.
ALTER TABLE intake.open_window ADD COLUMN merged_rows bigint NOT NULL DEFAULT 0;

-- Waits until no other instance merges or closes a window, and keeps others from it until the end of the transaction.
-- One that takes its time is not waited for: error PA001, which says that nothing is wrong.
CREATE FUNCTION intake.take_turn() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(x'70726f7365'::bigint);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'another instance is merging or closing a window' USING ERRCODE = 'PA001';
END
$$;

-- Opens a window with its two tables, unless it is open or has been released. It waits for nobody's turn: what is
-- merged or closed is another window.
CREATE OR REPLACE FUNCTION intake.create_window(kind text, starts_on date, key_check bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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
    PERFORM intake.create_tables('w', opened);
END
$$;

-- Puts what has been reported aside, to be merged; writers go on in new tables. Returns whether there is something to
-- merge: not if nothing has come since the last merge, nor if the table is large and has not doubled since.
CREATE OR REPLACE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    merged bigint;
    present bigint;
    bytes bigint;
BEGIN
    PERFORM intake.take_turn();
    SELECT w.merged_rows INTO merged FROM intake.open_window w WHERE w.id = $1 AND w.state = 'open';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF to_regclass(format('intake.merging%s_installation', id)) IS NOT NULL THEN
        RETURN true;
    END IF;
    EXECUTE format('SELECT (SELECT count(*) FROM intake.w%1$s_installation) + (SELECT count(*) FROM intake.w%1$s_pod)', id)
        INTO present;
    bytes := pg_relation_size(format('intake.w%s_installation', id)) + pg_relation_size(format('intake.w%s_pod', id));
    IF present = merged OR (bytes > 64 * 1024 * 1024 AND present < 2 * merged) THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TABLE intake.w%1$s_installation RENAME TO merging%1$s_installation', id);
    EXECUTE format('ALTER TABLE intake.w%1$s_pod RENAME TO merging%1$s_pod', id);
    PERFORM intake.create_tables('w', id);
    RETURN true;
END
$$;

-- Merges what was put aside, value by value to the greater one, and writes it in the order of the subjects, which tells
-- nothing about the order of arrival. Does nothing if nothing was put aside.
CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    target text;
    installations bigint;
    pods bigint;
BEGIN
    PERFORM intake.take_turn();
    SELECT format('intake.%s%s', CASE w.state WHEN 'open' THEN 'w' ELSE 'closing' END, w.id) INTO target
        FROM intake.open_window w WHERE w.id = $1;
    IF target IS NULL OR to_regclass(format('intake.merging%s_installation', id)) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'INSERT INTO %s_installation (subject, pod, app_version, language, platform, proxied)
         SELECT subject, max(pod), max(app_version), max(language), max(platform), proxied
         FROM intake.merging%s_installation GROUP BY subject, proxied ORDER BY subject, proxied', target, id);
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
    EXECUTE format('ALTER TABLE intake.w%1$s_installation RENAME TO merging%1$s_installation', id);
    EXECUTE format('ALTER TABLE intake.w%1$s_pod RENAME TO merging%1$s_pod', id);
    PERFORM intake.create_tables('closing', id);
END
$$;

REVOKE EXECUTE ON FUNCTION intake.take_turn FROM PUBLIC;
GRANT EXECUTE ON FUNCTION intake.take_turn TO prose_release;
