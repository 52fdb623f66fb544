-- What has been merged lies in packs: some 260 records in a row that fills a page of Postgres, in the order of subjects. Rows of
-- one reporter each had more bytes of their own than of what they say, and to sort and count them took most of the time of
-- a merge and of a close. Now the service merges and counts, and Postgres keeps. The number of packs, which Postgres
-- tells each role, tells the number of reporters no closer than that, so no rows have to be added that count for nobody.

-- No merge and no close meanwhile.
SELECT intake.take_turn();

-- The shape of what has been merged of a window.
CREATE TABLE intake.merged_template (
    -- Records, filled up with zeros; see ingest-api/src/intake/record.rs. With the heads of its row and its page, a pack
    -- fills a page, so that none tells how many records it has. Packs follow each other as they lie: they are written one after the
    -- other into a new table, where each needs a new page, and are not changed.
    records     bytea NOT NULL CONSTRAINT merged_length CHECK (length(records) = 8100)
);
-- In the page itself, as it is.
ALTER TABLE intake.merged_template ALTER COLUMN records SET STORAGE PLAIN;

-- How many packs the last merge wrote.
ALTER TABLE intake.open_window DROP COLUMN merged_rows;
ALTER TABLE intake.open_window ADD COLUMN merged_packs integer NOT NULL DEFAULT 0;

-- Makes the table of a window under a prefix, for those who may do that to it. For the other functions.
CREATE FUNCTION intake.create_table(prefix text, rights text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TABLE intake.%s_merged (LIKE intake.merged_template INCLUDING ALL)', prefix);
    EXECUTE format('GRANT %s ON intake.%s_merged TO prose_release', rights, prefix);
END
$$;

-- Opens a window with its table, unless it is open or has been released. It waits for nobody's turn: what is merged or
-- closed is another window.
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
    PERFORM intake.create_table(format('w%s', opened), 'SELECT');
END
$$;

-- Sees that nobody else reads the table of a window until the end of the transaction; gives up soon if somebody does: error
-- PA002. For the other functions.
CREATE FUNCTION intake.lock_table(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('LOCK TABLE intake.w%s_merged IN ACCESS EXCLUSIVE MODE', id);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'somebody reads the reports of an open window' USING ERRCODE = 'PA002';
END
$$;

-- Whoever adds pieces locks this, and so does a close, to wait for those who are at it. Not the table of the pieces, which may be vacuumed
-- just then: a close would wait for that, and everybody for the close.
CREATE TABLE intake.writing ();

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
    INSERT INTO intake.arrival SELECT * FROM unnest(window_ids, sealed);
    RETURN true;
END
$$;

-- Ends the time of a window: waits for writers that are in the middle of a commit, and later ones are refused. What has come is still to
-- be counted. Those that come meanwhile wait for it; so it gives up soon if somebody stays in the middle: error PA002.
CREATE OR REPLACE FUNCTION intake.begin_closing(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    PERFORM intake.take_turn();
    BEGIN
        LOCK TABLE intake.writing IN SHARE MODE;
    EXCEPTION WHEN lock_not_available THEN
        RAISE EXCEPTION 'somebody is writing to the open windows' USING ERRCODE = 'PA002';
    END;
    UPDATE intake.open_window w SET state = 'closing' WHERE w.id = $1 AND w.state = 'open';
END
$$;

-- The first step of a merge, which is one transaction: returns whether anything has come to a window. Whoever has the key then
-- takes it, merges it with what the window has, and writes that to intake.new_merged. Writers do not wait for a merge.
CREATE OR REPLACE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1)
       OR NOT EXISTS (SELECT FROM intake.arrival a WHERE a.window_id = $1) THEN
        RETURN false;
    END IF;
    -- Now rather than when all is written: not in vain, if somebody reads the window.
    PERFORM intake.lock_table(id);
    PERFORM intake.create_table('new', 'INSERT');
    RETURN true;
END
$$;

-- Removes what has come to a window, or as many pieces as have so many bytes together and one more, and returns it.
CREATE FUNCTION intake.take(id integer, bytes bigint) RETURNS SETOF bytea
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT intake.take_turn();
    DELETE FROM intake.arrival a
        WHERE a.ctid = ANY (ARRAY(
            SELECT w.ctid FROM (
                SELECT p.ctid, sum(length(p.sealed)) OVER (ROWS UNBOUNDED PRECEDING) - length(p.sealed) AS before
                FROM intake.arrival p WHERE p.window_id = $1
            ) AS w WHERE $2 IS NULL OR w.before < $2))
        RETURNING a.sealed;
$$;

-- The last step: what was written takes the place of what the window had. Does nothing without the first.
CREATE OR REPLACE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    packs integer;
BEGIN
    PERFORM intake.take_turn();
    IF to_regclass('intake.new_merged') IS NULL THEN
        RETURN;
    END IF;
    SELECT count(*) INTO packs FROM intake.new_merged;
    -- None does that this service makes; packs that were made of rows, below, are less than full.
    IF packs < (SELECT w.merged_packs / 2 FROM intake.open_window w WHERE w.id = $1) THEN
        RAISE EXCEPTION 'a merge loses nothing' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    REVOKE INSERT ON intake.new_merged FROM prose_release;
    GRANT SELECT ON intake.new_merged TO prose_release;
    EXECUTE format('DROP TABLE intake.w%s_merged', id);
    EXECUTE format('ALTER TABLE intake.new_merged RENAME TO w%s_merged', id);
    UPDATE intake.open_window w SET merged_packs = packs WHERE w.id = $1;
END
$$;

-- Begins to release a window that is being closed; returns whether it is still there. Nobody else reads it from now on.
CREATE FUNCTION intake.begin_releasing(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing') THEN
        RETURN false;
    END IF;
    PERFORM intake.lock_table(id);
    RETURN true;
END
$$;

-- Removes a window that is being closed with all it has, in the transaction that writes its release. Not if something that has come
-- was not counted.
CREATE OR REPLACE FUNCTION intake.remove_window(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing';
    IF FOUND THEN
        IF EXISTS (SELECT FROM intake.arrival a WHERE a.window_id = $1) THEN
            RAISE EXCEPTION 'something in the window has not been counted' USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        EXECUTE format('DROP TABLE intake.w%s_merged', id);
    END IF;
END
$$;

-- What has been merged of a window, one row a reporter: for whoever owns the database and wants to look at it.
CREATE FUNCTION intake.reporters(id integer) RETURNS TABLE (
    is_pod boolean, proxied boolean, subject bigint, pod bigint, version bigint, language_or_size integer, platform integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pack bytea;
    what integer;
    at integer;
BEGIN
    FOR pack IN EXECUTE format('SELECT m.records FROM intake.w%s_merged m ORDER BY m.ctid', id) LOOP
        at := 0;
        WHILE at < length(pack) LOOP
            what := get_byte(pack, at);
            EXIT WHEN what = 0;
            is_pod := what = 3;
            proxied := what <> 1;
            subject := intake.number(pack, at + 1, 8);
            IF is_pod THEN
                pod := subject;
                version := intake.number(pack, at + 9, 8);
                language_or_size := intake.number(pack, at + 17, 4);
                platform := 0;
                at := at + 21;
            ELSE
                pod := intake.number(pack, at + 9, 8);
                version := intake.number(pack, at + 17, 8);
                language_or_size := intake.number(pack, at + 25, 4);
                platform := intake.number(pack, at + 29, 2);
                at := at + 31;
            END IF;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

-- The number in some bytes of a pack, big-endian; none is negative.
CREATE FUNCTION intake.number(pack bytea, at integer, length integer) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ('x' || encode(substr($1, $2 + 1, $3), 'hex'))::bit(64)::bigint >> (64 - 8 * $3)
$$;

-- The bytes of what the tables of a window have; the number of a window. For this migration.
CREATE FUNCTION intake.pack(id integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    packs integer;
BEGIN
    PERFORM intake.create_table(format('w%s', id), 'SELECT');
    EXECUTE format(
        'INSERT INTO intake.w%1$s_merged (records)
         SELECT packed || decode(repeat(''00'', 8100 - length(packed)), ''hex'') FROM (
         SELECT place, string_agg(record, '''' ORDER BY subject, what) AS packed FROM (
             SELECT subject, what, record, (row_number() OVER (ORDER BY subject, what) - 1) / 261 AS place FROM (
                 SELECT subject, what,
                     set_byte(''\x00'', 0, what) || int8send(subject) || int8send(max(pod)) || int8send(max(app_version))
                         || int4send(max(language)) || int2send(max(platform)) AS record
                 FROM (SELECT i.*, CASE WHEN i.proxied THEN 2 ELSE 1 END AS what FROM intake.w%1$s_installation i) AS installations
                 WHERE subject >= 0 GROUP BY subject, what
                 UNION ALL
                 SELECT subject, 3, ''\x03'' || int8send(subject) || int8send(max(version)) || int4send(max(size))
                 FROM intake.w%1$s_pod WHERE subject >= 0 GROUP BY subject
             ) AS records
         ) AS placed GROUP BY place) AS packs ORDER BY place', id);
    GET DIAGNOSTICS packs = ROW_COUNT;
    UPDATE intake.open_window w SET merged_packs = packs WHERE w.id = $1;
    EXECUTE format('DROP TABLE intake.w%1$s_installation, intake.w%1$s_pod', id);
END
$$;
SELECT intake.pack(w.id) FROM intake.open_window w;
DROP FUNCTION intake.pack;

DROP TABLE intake.installation_template, intake.pod_template;
DROP FUNCTION intake.create_tables, intake.lock_tables, intake.fill_up;
REVOKE EXECUTE ON FUNCTION intake.create_table, intake.lock_table, intake.take, intake.begin_releasing, intake.reporters, intake.number FROM PUBLIC;
GRANT EXECUTE ON FUNCTION intake.take, intake.begin_releasing TO prose_release;
