-- Four schemas, so that a database role can be given one of them and no other.

-- Open windows: what has been reported, by subject. Nothing here outlives its window.
CREATE SCHEMA intake;

-- The windows that are open or being closed. A row is deleted when its window is released.
CREATE TABLE intake.open_window (
    -- Names the two tables of the window: intake.w<id>_installation and intake.w<id>_pod.
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
    CONSTRAINT open_window_once UNIQUE (kind, starts_on)
);

-- The shape of a window's reports of installations: one row a report, made distinct by subject when the window is
-- closed. Values are codes whose order is the order of the merge (see ingest-api/src/intake/code.rs); 0 means not
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
    RAISE EXCEPTION 'a release is written once and never changed' USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER closed_window_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON release.closed_window
    FOR EACH STATEMENT EXECUTE FUNCTION release.refuse();
CREATE TRIGGER block_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON release.block
    FOR EACH STATEMENT EXECUTE FUNCTION release.refuse();

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
