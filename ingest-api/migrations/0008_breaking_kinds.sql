-- What has come to windows of one kind lies by itself: whoever merges or closes a day does not read what has come to the week
-- and the month. And windows that are opened from now on have other check values: their subjects are made by AES-256, and no more
-- by HMAC-SHA-256. Those that are open go on as they are, as the service knows by the check values of their keys; a version
-- before would not know the others, and so does not start.

-- No merge and no close meanwhile, and no writer.
SELECT intake.take_turn();
LOCK TABLE intake.writing IN ACCESS EXCLUSIVE MODE;

COMMENT ON COLUMN intake.open_window.key_check IS
    'First 8 bytes of HMAC-SHA-256(window key, a text that says what its subjects are made by).';

ALTER TABLE intake.arrival RENAME TO arrival_before;
ALTER TABLE intake.arrival_before DROP CONSTRAINT arrival_length;

-- What has come since the last merge.
CREATE TABLE intake.arrival (
    -- The first letter of what kind of window it is.
    kind        "char" NOT NULL,
    window_id   integer NOT NULL,
    -- Records of that window; see ingest-api/src/intake/sealed.rs. Each is short enough to lie in a page with three others; only those
    -- that versions before have sealed may be a little longer, until they are merged.
    sealed      bytea NOT NULL CONSTRAINT arrival_length CHECK (length(sealed) BETWEEN 41 AND 2000)
) PARTITION BY LIST (kind);
-- Nothing is gained by compressing what looks random.
ALTER TABLE intake.arrival ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE intake.arrival_day PARTITION OF intake.arrival FOR VALUES IN ('d');
CREATE TABLE intake.arrival_week PARTITION OF intake.arrival FOR VALUES IN ('w');
CREATE TABLE intake.arrival_month PARTITION OF intake.arrival FOR VALUES IN ('m');
-- All rows of a window go with each merge: their places are free soon, however large the table has been.
ALTER TABLE intake.arrival_day SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE intake.arrival_week SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE intake.arrival_month SET (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = -1);

INSERT INTO intake.arrival (kind, window_id, sealed)
    SELECT left(w.kind, 1)::"char", w.id, a.sealed FROM intake.arrival_before a JOIN intake.open_window w ON w.id = a.window_id;
DROP TABLE intake.arrival_before;

-- The kind of a window in intake.arrival. For the other functions.
CREATE FUNCTION intake.kind_of(id integer) RETURNS "char"
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT left(w.kind, 1)::"char" FROM intake.open_window w WHERE w.id = $1
$$;

CREATE OR REPLACE FUNCTION intake.append(window_ids integer[], sealed bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A close takes a lock that waits for this one; and what it has committed is seen by the statement after this, unless
    -- all of a transaction sees what was before it.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'reports are written in transactions that are read committed' USING ERRCODE = 'invalid_transaction_state';
    END IF;
    LOCK TABLE intake.writing IN ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT unnest(window_ids) EXCEPT SELECT w.id FROM intake.open_window w WHERE w.state = 'open') THEN
        RETURN false;
    END IF;
    INSERT INTO intake.arrival (kind, window_id, sealed)
        SELECT left(w.kind, 1)::"char", w.id, p.sealed
        FROM unnest(window_ids, sealed) AS p (id, sealed) JOIN intake.open_window w USING (id);
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION intake.waiting_bytes(id integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(length(a.sealed)), 0) FROM intake.arrival a
    WHERE a.kind = (SELECT intake.kind_of($1)) AND a.window_id = $1
$$;

-- Whether something has come to a window since its last merge. For the other functions.
CREATE FUNCTION intake.has_arrivals(id integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM intake.arrival a WHERE a.kind = (SELECT intake.kind_of($1)) AND a.window_id = $1)
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
    PERFORM intake.create_table('new', 'INSERT');
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION intake.take(id integer, bytes bigint) RETURNS SETOF bytea
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT intake.take_turn();
    DELETE FROM intake.arrival a
        -- A place is one in the part of that kind.
        WHERE a.kind = (SELECT intake.kind_of($1)) AND a.ctid = ANY (ARRAY(
            SELECT w.ctid FROM (
                SELECT p.ctid, sum(length(p.sealed)) OVER (ROWS UNBOUNDED PRECEDING) - length(p.sealed) AS before
                FROM intake.arrival p WHERE p.kind = (SELECT intake.kind_of($1)) AND p.window_id = $1
            ) AS w WHERE $2 IS NULL OR w.before < $2))
        RETURNING a.sealed;
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
        EXECUTE format('DROP TABLE intake.w%s_merged', id);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION intake.kind_of, intake.has_arrivals FROM PUBLIC;
