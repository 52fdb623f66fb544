-- Sessions of browsers: what a reader's token becomes when it is given on the login page.
CREATE TABLE access.session (
    -- SHA-256 of the session's secret, which is 32 random bytes and is only in the cookie of one browser.
    digest      bytea PRIMARY KEY CONSTRAINT session_digest CHECK (length(digest) = 32),
    -- The token that it was opened with: its rights are the session's, and when it is revoked, the session is gone.
    token_name  text NOT NULL CONSTRAINT session_of_a_token REFERENCES access.token ON DELETE CASCADE,
    -- When it ends by itself. Deleted at the next login after that.
    expires_at  timestamptz NOT NULL
);

CREATE INDEX session_by_token ON access.session (token_name);
CREATE INDEX session_by_expiry ON access.session (expires_at);

-- Opens a session for whoever holds a valid token; it ends at `until`, with its token, or after 31 days, whichever comes
-- first. Nothing is returned, and nothing done, if the token is not valid.
CREATE FUNCTION access.open_session(token_digest bytea, session_digest bytea, at timestamptz, until timestamptz)
RETURNS timestamptz
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    DELETE FROM access.session s WHERE s.expires_at <= $3;
    INSERT INTO access.session AS s (digest, token_name, expires_at)
        SELECT $2, t.name, least($4, t.expires_at, $3 + interval '31 days') FROM access.valid_token($1, $3) t
        RETURNING s.expires_at
$$;

-- The rights of a session, if it is valid: those of its token, as they are now.
CREATE FUNCTION access.valid_session(digest bytea, at timestamptz)
RETURNS TABLE (name text, may_read_domains boolean, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT t.name, t.may_read_domains, s.expires_at
    FROM access.session s JOIN access.token t ON t.name = s.token_name
    WHERE s.digest = $1 AND s.expires_at > $2 AND (t.expires_at IS NULL OR t.expires_at > $2)
$$;

-- Ends a session, for whoever holds it.
CREATE FUNCTION access.end_session(digest bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    DELETE FROM access.session s WHERE s.digest = $1
$$;

-- The domains, for whoever holds a valid token with the right to them, or a session of one.
CREATE OR REPLACE FUNCTION optin.domains(digest bytea, at timestamptz) RETURNS SETOF optin.domain
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT d.* FROM optin.domain d
    WHERE EXISTS (SELECT FROM access.valid_token($1, $2) t WHERE t.may_read_domains)
       OR EXISTS (SELECT FROM access.valid_session($1, $2) s WHERE s.may_read_domains)
    ORDER BY d.domain COLLATE "C"
$$;

REVOKE EXECUTE ON FUNCTION access.open_session, access.valid_session, access.end_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.open_session, access.valid_session, access.end_session TO prose_reader;
