-- Four schemas and three roles. The service connects as the owner of all this, and takes one of the roles for each of
-- its tasks before it does anything:
--   prose_intake   writes to open windows, and reads none of their rows
--   prose_release  reads open windows when they are closed, and writes releases
--   prose_reader   reads releases
-- What a role cannot be trusted with as a whole is behind a function that runs as the owner.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['prose_intake', 'prose_release', 'prose_reader'] LOOP
        BEGIN
            -- Roles belong to the server, not to the database: another database may have made them, or be about to.
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        EXECUTE format('GRANT %I TO CURRENT_USER', name);
    END LOOP;
    -- The roles are the same for all databases of a server: whoever owns another one shall not come in with them.
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- Open windows: what has been reported, by subject. Nothing here outlives its window.
CREATE SCHEMA intake;

-- The windows that are open or being closed. A row is deleted when its window is released.
CREATE TABLE intake.open_window (
    -- Names the two tables of the window: intake.w<id>_installation and intake.w<id>_pod. While they are being merged,
    -- what was reported until then is in merging<id>_…; when the window is being closed, merged rows are in closing<id>_….
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- How long the window is.
    kind        text NOT NULL CONSTRAINT open_window_kind CHECK (kind IN ('day', 'week', 'month')),
    -- Its first UTC day.
    starts_on   date NOT NULL,
    -- 8 bytes that only the window's key gives; tells a wrong key directory from the right one. The key itself is
    -- never in the database.
    key_check   bigint NOT NULL,
    -- 'closing' from the moment that nothing is written to the window any more.
    state       text NOT NULL DEFAULT 'open' CONSTRAINT open_window_state CHECK (state IN ('open', 'closing')),
    -- Size of the table of installations after the last merge, in bytes.
    merged_bytes bigint NOT NULL DEFAULT 0,
    CONSTRAINT open_window_once UNIQUE (kind, starts_on)
);

-- The shape of a window's reports of installations: one row a report, merged to one row a subject from time to time and
-- when the window is closed. Values are codes whose order is the order of the merge (see ingest-api/src/intake/code.rs); 0 means not
-- reported. Wide columns first, so that no byte is lost to alignment.
CREATE TABLE intake.installation_template (
    -- First 8 bytes of HMAC-SHA-256(window key, salted user hash).
    subject     bigint NOT NULL,
    -- First 8 bytes of HMAC-SHA-256(window key, domain hash): the Pod, or the XMPP server of a direct client.
    pod         bigint NOT NULL,
    -- App and version in one, so that a merge takes both from one report.
    app_version bigint NOT NULL,
    -- First choice of locale.
    language    integer NOT NULL,
    platform    smallint NOT NULL,
    -- Whether a Pod's proxy handed the report on: which of the two populations it belongs to.
    proxied     boolean NOT NULL
);

-- The shape of a window's reports about Pods.
CREATE TABLE intake.pod_template (
    -- As `pod` above.
    subject     bigint NOT NULL,
    version     bigint NOT NULL,
    -- Size bin: its least count plus one.
    size        integer NOT NULL
);

GRANT USAGE ON SCHEMA intake TO prose_intake, prose_release;
GRANT SELECT ON intake.open_window TO prose_intake, prose_release;

-- Releases: what has been published. Written once, and then never changed.
CREATE SCHEMA release;

CREATE TABLE release.closed_window (
    kind        text NOT NULL CONSTRAINT closed_window_kind CHECK (kind IN ('day', 'week', 'month')),
    -- Its first UTC day.
    starts_on   date NOT NULL,
    -- The day after its last.
    ends_on     date NOT NULL,
    PRIMARY KEY (kind, starts_on),
    CONSTRAINT closed_window_length CHECK (ends_on > starts_on)
);

-- The blocks of each family. A family without rows had too few reporters for anything to be published.
CREATE TABLE release.block (
    kind        text NOT NULL,
    starts_on   date NOT NULL,
    -- 'pod' or 'direct'.
    population  text NOT NULL CONSTRAINT block_population CHECK (population IN ('pod', 'direct')),
    family      text NOT NULL,
    -- A value, or what it was folded into ('0.4/other', 'other').
    label       text NOT NULL,
    -- Distinct reporters, rounded. The exact number is not stored.
    published   bigint NOT NULL CONSTRAINT block_is_a_group CHECK (published >= 5),
    PRIMARY KEY (kind, starts_on, population, family, label),
    CONSTRAINT block_of_a_closed_window FOREIGN KEY (kind, starts_on) REFERENCES release.closed_window
);

CREATE FUNCTION release.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- release.purge sets this. Only the owner may delete at all; it could as well drop this trigger.
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

-- Blocks are written in the transaction that closes their window, and never after it.
CREATE FUNCTION release.refuse_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM release.closed_window w
        WHERE w.kind = NEW.kind AND w.starts_on = NEW.starts_on
          AND w.xmin::text::bigint = pg_current_xact_id()::text::bigint % 4294967296
    ) THEN
        RAISE EXCEPTION 'nothing is added to a release' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER block_is_not_late BEFORE INSERT ON release.block FOR EACH ROW EXECUTE FUNCTION release.refuse_late();

GRANT USAGE ON SCHEMA release TO prose_intake, prose_release, prose_reader;
-- Intake asks whether a window has been released, so that it is not opened again.
GRANT SELECT ON release.closed_window TO prose_intake;
GRANT SELECT, INSERT ON release.closed_window, release.block TO prose_release;
GRANT SELECT ON release.closed_window, release.block TO prose_reader;

-- The functions below that touch windows run one at a time, over all instances of the service.

-- Makes the two tables of a window under a prefix. For the other functions.
CREATE FUNCTION intake.create_tables(prefix text, id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    EXECUTE format('CREATE TABLE intake.%s%s_installation (LIKE intake.installation_template INCLUDING ALL)', $1, $2);
    EXECUTE format('CREATE TABLE intake.%s%s_pod (LIKE intake.pod_template INCLUDING ALL)', $1, $2);
    EXECUTE format('GRANT INSERT ON intake.%1$s%2$s_installation, intake.%1$s%2$s_pod TO prose_intake', $1, $2);
    EXECUTE format('GRANT SELECT, DELETE ON intake.%1$s%2$s_installation, intake.%1$s%2$s_pod TO prose_release', $1, $2);
END
$$;

-- Opens a window with its two tables, unless it is open or has been released.
CREATE FUNCTION intake.create_window(kind text, starts_on date, key_check bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    id integer;
BEGIN
    IF EXISTS (SELECT FROM release.closed_window c WHERE c.kind = $1 AND c.starts_on = $2) THEN
        RETURN;
    END IF;
    INSERT INTO intake.open_window AS w (kind, starts_on, key_check) VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT open_window_once DO NOTHING RETURNING w.id INTO id;
    IF id IS NOT NULL THEN
        PERFORM intake.create_tables('w', id);
    END IF;
END
$$;

-- Puts what has been reported aside, to be merged; writers go on in new tables. Returns whether there is something to
-- merge: not if nothing has come since the last merge, nor if that is little beside what a merge would have to read.
CREATE FUNCTION intake.begin_merging(id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    merged bigint;
    present bigint;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(x'70726f7365'::bigint);
    SELECT w.merged_bytes INTO merged FROM intake.open_window w WHERE w.id = $1 AND w.state = 'open';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF to_regclass(format('intake.merging%s_installation', id)) IS NOT NULL THEN
        RETURN true;
    END IF;
    present := pg_relation_size(format('intake.w%s_installation', id))
             + pg_relation_size(format('intake.w%s_pod', id));
    IF present = merged OR (present > 64 * 1024 * 1024 AND present < 2 * merged) THEN
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
CREATE FUNCTION intake.finish_merging(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    target text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(x'70726f7365'::bigint);
    SELECT format('intake.%s%s', CASE w.state WHEN 'open' THEN 'w' ELSE 'closing' END, w.id) INTO target
        FROM intake.open_window w WHERE w.id = $1;
    IF target IS NULL OR to_regclass(format('intake.merging%s_installation', id)) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format(
        'INSERT INTO %s_installation (subject, pod, app_version, language, platform, proxied)
         SELECT subject, max(pod), max(app_version), max(language), max(platform), proxied
         FROM intake.merging%s_installation GROUP BY subject, proxied ORDER BY subject, proxied', target, id);
    EXECUTE format(
        'INSERT INTO %s_pod (subject, version, size)
         SELECT subject, max(version), max(size) FROM intake.merging%s_pod GROUP BY subject ORDER BY subject',
        target, id);
    EXECUTE format('DROP TABLE intake.merging%1$s_installation, intake.merging%1$s_pod', id);
    UPDATE intake.open_window w
        SET merged_bytes = pg_relation_size(target || '_installation') + pg_relation_size(target || '_pod')
        WHERE w.id = $1;
END
$$;

-- Takes the tables of an open window away from the writers: puts them aside, to be merged into the tables of the close.
CREATE FUNCTION intake.begin_closing(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(x'70726f7365'::bigint);
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

-- Removes a window that is being closed, with all its rows.
CREATE FUNCTION intake.drop_window(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    DELETE FROM intake.open_window w WHERE w.id = $1 AND w.state = 'closing';
    IF FOUND THEN
        EXECUTE format('DROP TABLE intake.closing%1$s_installation, intake.closing%1$s_pod', id);
    END IF;
END
$$;

-- Deletes the releases of windows that ended on a day or before it, when their time of retention is over.
CREATE FUNCTION release.purge(until date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
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

-- Trigger functions stay callable by whoever writes; called on their own they do nothing.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION release.purge FROM PUBLIC;
GRANT EXECUTE ON FUNCTION release.purge TO prose_release;
GRANT EXECUTE ON FUNCTION intake.create_window TO prose_intake;
GRANT EXECUTE ON FUNCTION
    intake.begin_merging, intake.finish_merging, intake.begin_closing, intake.drop_window TO prose_release;

-- Who may read.
CREATE SCHEMA access;

CREATE TABLE access.token (
    -- Chosen by whoever made it; names it in lists and when it is revoked.
    name        text PRIMARY KEY,
    -- SHA-256 of the token, which is 32 random bytes. The token itself is shown once and not kept.
    digest      bytea NOT NULL CONSTRAINT token_digest UNIQUE CHECK (length(digest) = 32),
    -- Whether it may read the opt-in domains.
    may_read_domains boolean NOT NULL,
    -- When it stops to work; never, if NULL.
    expires_at  timestamptz
);

-- Domains of Pods whose operators opted in. No identifier, and nothing that could be joined to anything.
CREATE SCHEMA optin;

CREATE TABLE optin.domain (
    domain      text PRIMARY KEY,
    -- Monday of the ISO week in which it was last reported. Two closed weeks later, the row is deleted.
    last_seen_week date NOT NULL
);

GRANT USAGE ON SCHEMA access, optin TO prose_reader;
GRANT USAGE ON SCHEMA optin TO prose_intake, prose_release;
GRANT SELECT, INSERT, UPDATE ON optin.domain TO prose_intake;
GRANT SELECT, DELETE ON optin.domain TO prose_release;

-- The rights of a token, if it is valid. A reader can ask about a token that it holds, and about no other.
CREATE FUNCTION access.valid_token(digest bytea, at timestamptz)
RETURNS TABLE (name text, may_read_domains boolean, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT t.name, t.may_read_domains, t.expires_at FROM access.token t
    WHERE t.digest = $1 AND (t.expires_at IS NULL OR t.expires_at > $2)
$$;

-- The domains, for whoever holds a valid token with the right to them.
CREATE FUNCTION optin.domains(digest bytea, at timestamptz) RETURNS SETOF optin.domain
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT d.* FROM optin.domain d
    WHERE EXISTS (SELECT FROM access.valid_token($1, $2) t WHERE t.may_read_domains)
    ORDER BY d.domain COLLATE "C"
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA access, optin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.valid_token, optin.domains TO prose_reader;
