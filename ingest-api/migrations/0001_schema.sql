-- The whole schema of ingest-api, for PostgreSQL 15 or newer. The role that runs this owns all of it.
--
--   intake    open windows: reporters that are still being counted, each under a pseudonym of its window
--   release   what has been published about closed windows
--   optin     domains of Pods whose operators opted in
--   access    who may read
--
-- The service never stays connected as the owner. For each task it logs in as a member of one of the three
-- roles below. Where a role must do something that it cannot be trusted with in general, it calls a function
-- that runs as the owner (SECURITY DEFINER).


--------------------------------------------------------------------------------------------------------------
-- Roles
--------------------------------------------------------------------------------------------------------------

-- prose_intake    opens windows and adds reports to them; reads no report
-- prose_release   merges and closes windows, writes releases, deletes what is past its retention
-- prose_reader    reads releases; reads domains for a token that may
--
-- They hold rights and cannot log in: see ingest-api/src/store/login.rs for the logins. Roles belong to the
-- server, so another database of it may have created them, or may be about to.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['prose_intake', 'prose_release', 'prose_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    -- For the same reason, only logins of this database may connect to it. Each start checks this again.
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;


--------------------------------------------------------------------------------------------------------------
-- Open windows
--------------------------------------------------------------------------------------------------------------

CREATE SCHEMA intake;
COMMENT ON SCHEMA intake IS
    'Open windows: who is being counted, by pseudonym. Nothing here outlives its window.';

CREATE TABLE intake.open_window (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CONSTRAINT open_window_kind CHECK (kind IN ('day', 'week', 'month')),
    starts_on    date NOT NULL,
    key_check    bigint NOT NULL,
    state        text NOT NULL DEFAULT 'open' CONSTRAINT open_window_state CHECK (state IN ('open', 'closing')),
    merged_packs integer NOT NULL DEFAULT 0,
    CONSTRAINT open_window_once UNIQUE (kind, starts_on),
    -- prose_intake cannot open a window that does not exist in the calendar, or that the service could not
    -- read.
    CONSTRAINT open_window_starts CHECK (starts_on BETWEEN '2000-01-01' AND '9999-01-01'
                                         AND starts_on = date_trunc(kind, starts_on::timestamp)::date)
);
COMMENT ON TABLE intake.open_window IS
    'Windows that are open or being closed. A row is deleted by the transaction that writes the window''s '
    'release.';
COMMENT ON COLUMN intake.open_window.id IS 'Names the window''s table, intake.w<id>_merged.';
COMMENT ON COLUMN intake.open_window.kind IS 'How long the window is.';
COMMENT ON COLUMN intake.open_window.starts_on IS 'Its first UTC day. A week starts on Monday.';
COMMENT ON COLUMN intake.open_window.key_check IS
    'First 8 bytes of HMAC-SHA-256(window key, a constant). Tells the right key from another; the key '
    'itself is never in the database.';
COMMENT ON COLUMN intake.open_window.state IS
    '''closing'' from the moment that no more reports are accepted.';
COMMENT ON COLUMN intake.open_window.merged_packs IS
    'How many packs the last merge wrote to intake.w<id>_merged.';

CREATE TABLE intake.arrival (
    kind         "char" NOT NULL,
    window_id    integer NOT NULL,
    -- At most 1,996 bytes, so that four rows fit a page and Postgres neither compresses a piece nor stores it
    -- elsewhere.
    sealed       bytea NOT NULL CONSTRAINT arrival_length CHECK (length(sealed) BETWEEN 41 AND 1996)
) PARTITION BY LIST (kind);
COMMENT ON TABLE intake.arrival IS
    'Reports since the last merge of their window, sealed. A row lives until the next merge: an hour, as a '
    'rule.';
COMMENT ON COLUMN intake.arrival.kind IS
    'First letter of the window''s kind. A merge or close of a day then reads nothing of the week and the '
    'month.';
COMMENT ON COLUMN intake.arrival.window_id IS
    'The window, intake.open_window.id. append() checks it; a foreign key would cost more.';
COMMENT ON COLUMN intake.arrival.sealed IS
    'A piece: a nonce of 24 bytes, some records encrypted with the window''s key, a tag of 16 bytes. See '
    'ingest-api/src/window/seal.rs.';

CREATE TABLE intake.arrival_day PARTITION OF intake.arrival FOR VALUES IN ('d');
CREATE TABLE intake.arrival_week PARTITION OF intake.arrival FOR VALUES IN ('w');
CREATE TABLE intake.arrival_month PARTITION OF intake.arrival FOR VALUES IN ('m');
-- Postgres plans by a sample of each column. No plan needs one here, and a sample would keep pieces in the
-- catalogue after they have been merged. Partitions created later do not inherit this.
ALTER TABLE intake.arrival ALTER COLUMN sealed SET STATISTICS 0;
DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['arrival_day', 'arrival_week', 'arrival_month'] LOOP
        -- A merge deletes all rows of a window: vacuum soon after it, whatever the size of the table, and not
        -- after inserts. Never take samples (the threshold is the greatest that there is).
        EXECUTE format('ALTER TABLE intake.%I SET (
            autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647)', part);
    END LOOP;
END
$$;

CREATE TABLE intake.merged_template (
    records      bytea NOT NULL CONSTRAINT merged_length CHECK (length(records) = 8100)
);
-- In the page itself, uncompressed.
ALTER TABLE intake.merged_template ALTER COLUMN records SET STORAGE PLAIN;
COMMENT ON TABLE intake.merged_template IS
    'Always empty: the shape of intake.w<id>_merged, which holds the merged reporters of a window until '
    'its release.';
COMMENT ON COLUMN intake.merged_template.records IS
    'A pack: some 260 records, one for each reporter, in the order of their subjects, filled up with zeros '
    'to fill a page. See ingest-api/src/window/record.rs.';

-- The functions below create the tables of each window:
--   w<id>_merged          what has been merged. It is read through this table, and stored in its parts
--   part_<number>         its parts, which inherit from it: two megabytes each or, of a large window, 1/256 of it
--   new_merged, new_part  the same while a merge writes them; seen by that merge only, which is one transaction
--   gone_<number>         what a merge replaced or a release counted. No role can read it. A job drops it soon,
--                         part by part: the disk frees a dropped table at once, and commits may wait for that
CREATE SEQUENCE intake.part;
COMMENT ON SEQUENCE intake.part IS
    'Numbers parts, and tables that are to be dropped. A dump restores parts by name, and so in the order '
    'of their numbers.';

CREATE TABLE intake.turn ();
COMMENT ON TABLE intake.turn IS
    'Always empty. Locked by take_turn(), so that one instance at a time merges or closes. An advisory '
    'lock could be taken by any role.';

CREATE TABLE intake.writing ();
COMMENT ON TABLE intake.writing IS
    'Always empty. Locked by append(), and by a close that waits for writers. A lock on intake.arrival '
    'would wait for its vacuum.';


--------------------------------------------------------------------------------------------------------------
-- Releases
--------------------------------------------------------------------------------------------------------------

CREATE SCHEMA release;
COMMENT ON SCHEMA release IS
    'What has been published about closed windows. Written once, never changed, deleted after the '
    'configured retention.';

CREATE TABLE release.closed_window (
    kind         text NOT NULL CONSTRAINT closed_window_kind CHECK (kind IN ('day', 'week', 'month')),
    starts_on    date NOT NULL,
    ends_on      date NOT NULL,
    released_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, starts_on),
    CONSTRAINT closed_window_length CHECK (ends_on > starts_on)
);
COMMENT ON TABLE release.closed_window IS 'Windows that have been released. None of them is opened again.';
COMMENT ON COLUMN release.closed_window.kind IS 'How long the window was.';
COMMENT ON COLUMN release.closed_window.starts_on IS 'Its first UTC day.';
COMMENT ON COLUMN release.closed_window.ends_on IS 'The day after its last.';
COMMENT ON COLUMN release.closed_window.released_at IS 'When the release was written.';

CREATE TABLE release.block (
    kind         text NOT NULL,
    starts_on    date NOT NULL,
    population   text NOT NULL CONSTRAINT block_population CHECK (population IN ('pod', 'direct')),
    family       text NOT NULL,
    label        text NOT NULL,
    published    bigint NOT NULL CONSTRAINT block_is_a_group CHECK (published >= 5),
    PRIMARY KEY (kind, starts_on, population, family, label),
    CONSTRAINT block_of_a_closed_window FOREIGN KEY (kind, starts_on) REFERENCES release.closed_window
);
COMMENT ON TABLE release.block IS
    'The published numbers of a window. A family without rows had too few reporters for anything to be '
    'published.';
COMMENT ON COLUMN release.block.kind IS 'The window, with starts_on.';
COMMENT ON COLUMN release.block.starts_on IS 'The window, with kind.';
COMMENT ON COLUMN release.block.population IS
    '''pod'': Pods and what reports through them. ''direct'': apps without a Pod.';
COMMENT ON COLUMN release.block.family IS 'The question, for example ''platforms''.';
COMMENT ON COLUMN release.block.label IS
    'A value, or what small values were folded into (''0.4/other'', ''other'').';
COMMENT ON COLUMN release.block.published IS
    'Distinct reporters, rounded. The exact number is stored nowhere.';


--------------------------------------------------------------------------------------------------------------
-- Opt-in domains
--------------------------------------------------------------------------------------------------------------

CREATE SCHEMA optin;
COMMENT ON SCHEMA optin IS
    'Domains of Pods whose operators opted in. Holds no identifier, and nothing that can be joined to '
    'anything.';

CREATE TABLE optin.domain (
    domain         text PRIMARY KEY,
    last_seen_week date NOT NULL
);
COMMENT ON TABLE optin.domain IS
    'Domains that were reported lately. A row is deleted two closed weeks after its last report.';
COMMENT ON COLUMN optin.domain.domain IS 'The domain, as the operator allowed the Pod to tell it.';
COMMENT ON COLUMN optin.domain.last_seen_week IS 'Monday of the ISO week in which it was last reported.';


--------------------------------------------------------------------------------------------------------------
-- Readers
--------------------------------------------------------------------------------------------------------------

CREATE SCHEMA access;
COMMENT ON SCHEMA access IS
    'Who may read. No role reads these tables; functions answer about a secret that is presented.';

CREATE TABLE access.token (
    name             text PRIMARY KEY,
    digest           bytea NOT NULL CONSTRAINT token_digest UNIQUE CHECK (length(digest) = 32),
    may_read_domains boolean NOT NULL,
    expires_at       timestamptz
);
COMMENT ON TABLE access.token IS
    'Tokens of readers. A row lives until the token is revoked, also after it has expired.';
COMMENT ON COLUMN access.token.name IS
    'Chosen by the owner; names the token in lists and when it is revoked.';
COMMENT ON COLUMN access.token.digest IS
    'SHA-256 of the token, which is 32 random bytes, shown once and not kept.';
COMMENT ON COLUMN access.token.may_read_domains IS 'Whether it may read the opt-in domains.';
COMMENT ON COLUMN access.token.expires_at IS 'When it stops working; never, if NULL.';

CREATE TABLE access.session (
    digest       bytea PRIMARY KEY CONSTRAINT session_digest CHECK (length(digest) = 32),
    token_name   text NOT NULL CONSTRAINT session_of_a_token REFERENCES access.token ON DELETE CASCADE,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX session_by_token ON access.session (token_name);
CREATE INDEX session_by_expiry ON access.session (expires_at);
COMMENT ON TABLE access.session IS
    'Browsers that are logged in. A row lives until logout, or until its token is revoked, or until the '
    'first login after it expired.';
COMMENT ON COLUMN access.session.digest IS
    'SHA-256 of the session''s secret, which is 32 random bytes, and is only in the cookie of one browser.';
COMMENT ON COLUMN access.session.token_name IS
    'The token that the browser logged in with. Its rights are the session''s.';
COMMENT ON COLUMN access.session.expires_at IS 'When the session ends: 31 days after the login, or earlier.';


--------------------------------------------------------------------------------------------------------------
-- Functions: opening a window and writing to it
--------------------------------------------------------------------------------------------------------------

-- A function that runs as the owner looks names up in pg_catalog first, and last among temporary objects,
-- which its caller may have created.

-- Creates an empty table <prefix>_merged, which prose_release can read. For other functions.
CREATE FUNCTION intake.create_table(prefix text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TABLE intake.%s_merged (LIKE intake.merged_template INCLUDING ALL)', prefix);
    EXECUTE format('GRANT SELECT ON intake.%s_merged TO prose_release', prefix);
END
$$;

-- Opens a window, unless it is open or has been released. Waits for no turn: merges and closes are of other
-- windows.
CREATE FUNCTION intake.create_window(kind text, starts_on date, key_check bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opened integer;
BEGIN
    INSERT INTO intake.open_window AS w (kind, starts_on, key_check) VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT open_window_once DO NOTHING RETURNING w.id INTO opened;
    IF opened IS NULL THEN
        RETURN;
    END IF;
    -- Only now: a release deletes this row in its own transaction, for which the INSERT has waited.
    IF EXISTS (SELECT FROM release.closed_window c WHERE c.kind = $1 AND c.starts_on = $2) THEN
        DELETE FROM intake.open_window w WHERE w.id = opened;
        RETURN;
    END IF;
    PERFORM intake.create_table(format('w%s', opened));
END
$$;

-- Adds sealed pieces to windows, the first piece to the first window and so on. Adds all of them and returns
-- true; adds none and returns false if one of the windows is not open any more.
CREATE FUNCTION intake.append(window_ids integer[], sealed bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A close waits for the lock below. The statement after it sees that the window is closed, unless the
    -- whole transaction uses one snapshot.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'reports are written in transactions that are read committed'
            USING ERRCODE = 'invalid_transaction_state';
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


--------------------------------------------------------------------------------------------------------------
-- Functions: merging a window
--------------------------------------------------------------------------------------------------------------

-- A merge is one transaction of prose_release: begin_merging, take, then begin_part and COPY for each part,
-- finish_merging. The service has the key: it opens what take() returns, merges it with what the window
-- holds, and writes the result to new tables. Reports that come meanwhile wait for the next merge; their
-- writers do not wait.

-- Waits until no other instance merges or closes, and keeps others from it until the end of the transaction.
-- Gives up after 5 s with error PA001, which says that nothing is wrong.
CREATE FUNCTION intake.take_turn() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
    -- This mode lets pg_dump read the table.
    LOCK TABLE intake.turn IN EXCLUSIVE MODE;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'another instance is merging or closing a window' USING ERRCODE = 'PA001';
END
$$;

-- Keeps others from reading the table of a window until the end of the transaction. Gives up after 3 s with
-- error PA002 if somebody reads it. For other functions.
CREATE FUNCTION intake.lock_table(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    EXECUTE format('LOCK TABLE intake.w%s_merged IN ACCESS EXCLUSIVE MODE', id);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'somebody reads the reports of an open window' USING ERRCODE = 'PA002';
END
$$;

-- The kind of a window, as in intake.arrival. For other functions.
CREATE FUNCTION intake.kind_of(id integer) RETURNS "char"
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT left(w.kind, 1)::"char" FROM intake.open_window w WHERE w.id = $1
$$;

-- Whether a window has reports that have not been merged. For other functions.
CREATE FUNCTION intake.has_arrivals(id integer) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM intake.arrival a WHERE a.kind = (SELECT intake.kind_of($1)) AND a.window_id = $1)
$$;

-- How many bytes of sealed pieces wait for the next merge of a window.
CREATE FUNCTION intake.waiting_bytes(id integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(length(a.sealed)), 0) FROM intake.arrival a
    WHERE a.kind = (SELECT intake.kind_of($1)) AND a.window_id = $1
$$;

-- Begins a merge, and creates intake.new_merged for its result. Returns false, and does nothing, if nothing
-- has come.
CREATE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    IF NOT EXISTS (SELECT FROM intake.open_window w WHERE w.id = $1) OR NOT intake.has_arrivals(id) THEN
        RETURN false;
    END IF;
    -- finish_merging needs this lock. Taken now, a reader who is in the way is noticed before the work is
    -- done.
    PERFORM intake.lock_table(id);
    PERFORM intake.create_table('new');
    RETURN true;
END
$$;

-- Removes the pieces of a window and returns them: all of them or, given a number of bytes, as many as reach
-- it.
CREATE FUNCTION intake.take(id integer, bytes bigint) RETURNS SETOF bytea
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT intake.take_turn();
    DELETE FROM intake.arrival a
        -- A ctid is unique within one partition, which the kind selects.
        WHERE a.kind = (SELECT intake.kind_of($1)) AND a.ctid = ANY (ARRAY(
            SELECT w.ctid FROM (
                SELECT p.ctid, sum(length(p.sealed)) OVER (ROWS UNBOUNDED PRECEDING) - length(p.sealed) AS before
                FROM intake.arrival p WHERE p.kind = (SELECT intake.kind_of($1)) AND p.window_id = $1
            ) AS w WHERE $2 IS NULL OR w.before < $2))
        RETURNING a.sealed;
$$;

-- Ends the part that is being written, if there is one. For other functions.
CREATE FUNCTION intake.end_part() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('intake.new_part') IS NOT NULL THEN
        REVOKE INSERT ON intake.new_part FROM prose_release;
        EXECUTE format('ALTER TABLE intake.new_part RENAME TO part_%s', lpad(nextval('intake.part')::text, 12, '0'));
    END IF;
END
$$;

-- Begins the next part, intake.new_part, to which the merge then copies packs.
CREATE FUNCTION intake.begin_part() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM intake.take_turn();
    PERFORM intake.end_part();
    -- Without vacuum: a part is written once and soon replaced, and a vacuum would be in the way of that.
    CREATE TABLE intake.new_part () INHERITS (intake.new_merged) WITH (autovacuum_enabled = false);
    GRANT INSERT ON intake.new_part TO prose_release;
END
$$;

-- Renames the table of a window to gone_<number>, to be dropped. No role can read it from then on. For other
-- functions.
CREATE FUNCTION intake.put_away(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON intake.w%s_merged FROM prose_release', id);
    EXECUTE format('ALTER TABLE intake.w%s_merged RENAME TO gone_%s', id, nextval('intake.part'));
END
$$;

-- Ends a merge: what it wrote replaces what the window held. Does nothing if no merge has begun.
CREATE FUNCTION intake.finish_merging(id integer) RETURNS void
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
    -- A merge drops no reporter, so it writes about as many packs as there were, or more. This stops a role
    -- that would wipe a window. Half leaves room for packs that are filled in another way.
    IF packs < (SELECT w.merged_packs / 2 FROM intake.open_window w WHERE w.id = $1) THEN
        RAISE EXCEPTION 'a merge loses nothing' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM intake.put_away(id);
    EXECUTE format('ALTER TABLE intake.new_merged RENAME TO w%s_merged', id);
    UPDATE intake.open_window w SET merged_packs = packs WHERE w.id = $1;
END
$$;

-- Drops a part of a table that was put away, or such a table without parts; returns whether there was one to
-- drop. Passes over what somebody reads, or has built a view on.
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


--------------------------------------------------------------------------------------------------------------
-- Functions: closing a window
--------------------------------------------------------------------------------------------------------------

-- A close is two transactions of prose_release. The first, begin_closing, ends the time of reports. The
-- second is begin_releasing, take, INSERT into release.closed_window and release.block, remove_window.

-- Refuses reports to a window from now on, and waits for transactions that are writing one. Others that write
-- meanwhile wait in turn, so it gives up after 3 s with error PA002. What has come is still to be counted.
CREATE FUNCTION intake.begin_closing(id integer) RETURNS void
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

-- Begins to release a window that is being closed, and keeps others from reading it. Returns false, and does
-- nothing, if another instance has released it.
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

-- Removes a window that has been counted, with all that it holds. Fails if a report was not counted.
CREATE FUNCTION intake.remove_window(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Asked before the row is deleted, which says in which partition to look.
    something_waits boolean := intake.has_arrivals(id);
BEGIN
    DELETE FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing';
    IF FOUND THEN
        IF something_waits THEN
            RAISE EXCEPTION 'something in the window has not been counted'
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        PERFORM intake.put_away(id);
    END IF;
END
$$;


--------------------------------------------------------------------------------------------------------------
-- Functions: looking into a window, for the owner
--------------------------------------------------------------------------------------------------------------

-- The number in some bytes of a pack, big-endian, never negative; `at` counts from 0.
CREATE FUNCTION intake.number(pack bytea, at integer, length integer) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ('x' || encode(substr($1, $2 + 1, $3), 'hex'))::bit(64)::bigint >> (64 - 8 * $3)
$$;

CREATE FUNCTION intake.reporters(id integer) RETURNS TABLE (
    is_pod boolean, proxied boolean, subject bigint, pod bigint, version bigint, language_or_size integer, platform integer
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pack bytea;
    -- Two bits that say what the reporter is, and six for how many bytes of codes it has.
    head integer;
    at integer;
BEGIN
    FOR pack IN EXECUTE format('SELECT m.records FROM intake.w%s_merged m ORDER BY m.tableoid, m.ctid', id) LOOP
        at := 0;
        WHILE at < length(pack) LOOP
            head := get_byte(pack, at);
            EXIT WHEN head = 0;
            is_pod := head >> 6 = 3;
            proxied := head >> 6 <> 1;
            subject := intake.number(pack, at + 1, 8);
            IF is_pod THEN
                at := at + 9;
                pod := subject;
                version := intake.number(pack, at, 7);
                language_or_size := intake.number(pack, at + 7, 3);
                platform := 0;
            ELSE
                pod := intake.number(pack, at + 9, 8);
                at := at + 17;
                version := intake.number(pack, at, 8);
                platform := intake.number(pack, at + 8, 2);
                language_or_size := intake.number(pack, at + 10, 4);
            END IF;
            -- Codes that a later version has added follow these.
            at := at + (head & 63);
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION intake.reporters IS
    'The merged reporters of an open window, given its id, one row each. Values are the codes of '
    'ingest-api/src/window/codes.rs.';


--------------------------------------------------------------------------------------------------------------
-- Functions: releases are written once
--------------------------------------------------------------------------------------------------------------

-- Trigger: refuses to change or delete a release. release.purge may delete. So might the owner, who could as
-- well drop the trigger; no role has the right to.
CREATE FUNCTION release.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('prose.purging', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'a release is written once and never changed' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER closed_window_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON release.closed_window
    FOR EACH STATEMENT EXECUTE FUNCTION release.refuse();
CREATE TRIGGER block_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON release.block
    FOR EACH STATEMENT EXECUTE FUNCTION release.refuse();

-- Trigger: refuses a block that is not written by the transaction that closes its window.
CREATE FUNCTION release.refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM release.closed_window w
        WHERE w.kind = NEW.kind AND w.starts_on = NEW.starts_on
          -- xmin has 32 bits, the id of a transaction 64.
          AND w.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296
    ) THEN
        RAISE EXCEPTION 'nothing is added to a release' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER block_is_not_late BEFORE INSERT ON release.block FOR EACH ROW EXECUTE FUNCTION release.refuse_late();

CREATE FUNCTION release.purge(until date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    purged bigint;
BEGIN
    PERFORM set_config('prose.purging', 'on', true);
    DELETE FROM release.block b USING release.closed_window w
        WHERE b.kind = w.kind AND b.starts_on = w.starts_on AND w.ends_on <= $1;
    DELETE FROM release.closed_window w WHERE w.ends_on <= $1;
    GET DIAGNOSTICS purged = ROW_COUNT;
    PERFORM set_config('prose.purging', 'off', true);
    RETURN purged;
END
$$;
COMMENT ON FUNCTION release.purge IS
    'Deletes the releases of windows that ended on that day or earlier, and returns how many windows. For '
    'the configured retention.';


--------------------------------------------------------------------------------------------------------------
-- Functions: who may read
--------------------------------------------------------------------------------------------------------------

-- Each takes the SHA-256 of a secret. The service tells the time (`at`), so that tests can set it.

-- The rights of a token, if it is valid.
CREATE FUNCTION access.valid_token(digest bytea, at timestamptz)
RETURNS TABLE (name text, may_read_domains boolean, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.name, t.may_read_domains, t.expires_at FROM access.token t
    WHERE t.digest = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)
$$;

-- The rights of a session, if it and its token are valid: those that the token has now.
CREATE FUNCTION access.valid_session(digest bytea, at timestamptz)
RETURNS TABLE (name text, may_read_domains boolean, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.name, t.may_read_domains, s.expires_at
    FROM access.session s JOIN access.token t ON t.name = s.token_name
    WHERE s.digest = $1 AND s.expires_at > $2 AND (t.expires_at IS NULL OR t.expires_at > $2)
$$;

-- Opens a session with a valid token, and returns when it ends: at `until`, with the token, or after 31 days,
-- whichever comes first. Does nothing, and returns NULL, if the token is not valid. Deletes sessions that
-- have expired.
CREATE FUNCTION access.open_session(token_digest bytea, session_digest bytea, at timestamptz, until timestamptz)
RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM access.session s WHERE s.expires_at <= $3;
    INSERT INTO access.session AS s (digest, token_name, expires_at)
        SELECT $2, t.name, least($4, t.expires_at, $3 + interval '31 days') FROM access.valid_token($1, $3) t
        RETURNING s.expires_at
$$;

-- Ends a session.
CREATE FUNCTION access.end_session(digest bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM access.session s WHERE s.digest = $1
$$;

-- The opt-in domains, for a valid token that may read them, or a session of one; no rows otherwise.
CREATE FUNCTION optin.domains(digest bytea, at timestamptz) RETURNS SETOF optin.domain
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.* FROM optin.domain d
    WHERE EXISTS (SELECT FROM access.valid_token($1, $2) t WHERE t.may_read_domains)
       OR EXISTS (SELECT FROM access.valid_session($1, $2) s WHERE s.may_read_domains)
    ORDER BY d.domain COLLATE "C"
$$;


--------------------------------------------------------------------------------------------------------------
-- Grants
--------------------------------------------------------------------------------------------------------------

-- Functions can be called by everybody unless that is taken back. The two triggers do nothing when called.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA intake, access, optin FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION release.purge FROM PUBLIC;

-- prose_intake: finds and opens windows, unless they have been released; writes reports; notes domains.
GRANT USAGE ON SCHEMA intake, release, optin TO prose_intake;
GRANT SELECT ON intake.open_window, release.closed_window TO prose_intake;
GRANT EXECUTE ON FUNCTION intake.create_window, intake.append TO prose_intake;
GRANT SELECT, INSERT, UPDATE ON optin.domain TO prose_intake;

-- prose_release: merges, closes, releases, purges. It reads intake.w<id>_merged, too: see create_table().
GRANT USAGE ON SCHEMA intake, release, optin TO prose_release;
GRANT SELECT ON intake.open_window TO prose_release;
GRANT EXECUTE ON FUNCTION
    intake.take_turn, intake.waiting_bytes,
    intake.begin_merging, intake.take, intake.begin_part, intake.finish_merging, intake.drop_part,
    intake.begin_closing, intake.begin_releasing, intake.remove_window,
    release.purge
    TO prose_release;
GRANT SELECT, INSERT ON release.closed_window, release.block TO prose_release;
GRANT SELECT, DELETE ON optin.domain TO prose_release;

-- prose_reader: reads releases; asks about a token or session that it was given, and no other.
GRANT USAGE ON SCHEMA release, access, optin TO prose_reader;
GRANT SELECT ON release.closed_window, release.block TO prose_reader;
GRANT EXECUTE ON FUNCTION
    access.valid_token, access.valid_session, access.open_session, access.end_session, optin.domains
    TO prose_reader;
