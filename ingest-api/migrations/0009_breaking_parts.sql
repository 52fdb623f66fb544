-- What has been merged of a window lies in parts of two megabytes or, of a large window, some 256 of them: tables that inherit from the
-- window's. To drop a table, the disk frees all of its blocks at once, and on some disks every commit waits for that. So what a merge replaces, or a release has
-- counted, is put away with it, and its parts are dropped afterwards, one at a time.
--
-- A table of a window that is there already has its packs in itself, and goes on so until it is merged.

-- No merge and no close meanwhile.
SELECT intake.take_turn();

-- Parts and what is put away have numbers; a dump restores parts in the order of their names.
CREATE SEQUENCE intake.part;

-- Ends the part that is being written, if there is one. For the other functions.
CREATE FUNCTION intake.end_part() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('intake.new_part') IS NOT NULL THEN
        REVOKE INSERT ON intake.new_part FROM prose_release;
        EXECUTE format('ALTER TABLE intake.new_part RENAME TO part_%s', lpad(nextval('intake.part')::text, 12, '0'));
    END IF;
END
$$;

-- The next packs of a merge are written to a new part, intake.new_part. They are read through the window's table alone.
CREATE FUNCTION intake.begin_part() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    PERFORM intake.end_part();
    -- It is written once and soon replaced: a vacuum would be for nothing, and in the way of its end.
    CREATE TABLE intake.new_part () INHERITS (intake.new_merged) WITH (autovacuum_enabled = false);
    GRANT INSERT ON intake.new_part TO prose_release;
END
$$;

-- Puts the table of a window away, to be dropped; nobody reads it any more. For the other functions.
CREATE FUNCTION intake.put_away(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON intake.w%s_merged FROM prose_release', id);
    EXECUTE format('ALTER TABLE intake.w%s_merged RENAME TO gone_%s', id, nextval('intake.part'));
END
$$;

-- Drops a part of what was put away, or what has no parts; returns whether there was anything. What somebody reads, or
-- has made something of that depends on it, is passed over.
CREATE FUNCTION intake.drop_part() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    PERFORM intake.take_turn();
    FOR part IN SELECT coalesce(i.inhrelid, c.oid) FROM pg_class c LEFT JOIN pg_inherits i ON i.inhparent = c.oid
                WHERE c.relnamespace = 'intake'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'gone\_%' LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', part);
            EXECUTE format('DROP TABLE %s', part);
            RETURN true;
        EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist THEN
            CONTINUE;
        END;
    END LOOP;
    RETURN false;
END
$$;

CREATE OR REPLACE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1) OR NOT intake.has_arrivals(id) THEN
        RETURN false;
    END IF;
    -- Now rather than when all is written: not in vain, if somebody reads the window.
    PERFORM intake.lock_table(id);
    PERFORM intake.create_table('new', 'SELECT');
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    packs integer;
BEGIN
    PERFORM intake.take_turn();
    IF to_regclass('intake.new_merged') IS NULL THEN
        RETURN;
    END IF;
    PERFORM intake.end_part();
    SELECT count(*) INTO packs FROM intake.new_merged;
    -- None does that this service makes; packs that were made of rows by an upgrade are less than full.
    IF packs < (SELECT w.merged_packs / 2 FROM intake.open_window w WHERE w.id = $1) THEN
        RAISE EXCEPTION 'a merge loses nothing' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM intake.put_away(id);
    EXECUTE format('ALTER TABLE intake.new_merged RENAME TO w%s_merged', id);
    UPDATE intake.open_window w SET merged_packs = packs WHERE w.id = $1;
END
$$;

CREATE OR REPLACE FUNCTION intake.remove_window(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Before its row is gone, by which it is known where they lie.
    something_waits boolean := intake.has_arrivals(id);
BEGIN
    DELETE FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing';
    IF FOUND THEN
        IF something_waits THEN
            RAISE EXCEPTION 'something in the window has not been counted' USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        PERFORM intake.put_away(id);
    END IF;
END
$$;

-- What has been merged is told in the order of its parts.
DO $$
BEGIN
    EXECUTE replace(pg_get_functiondef('intake.reporters(integer)'::regprocedure), 'ORDER BY m.ctid', 'ORDER BY m.tableoid, m.ctid');
END
$$;

REVOKE EXECUTE ON FUNCTION intake.end_part, intake.begin_part, intake.put_away, intake.drop_part FROM PUBLIC;
GRANT EXECUTE ON FUNCTION intake.begin_part, intake.drop_part TO prose_release;
