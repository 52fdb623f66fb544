#!/usr/bin/env bash
# In place of the entry point of the official image of Postgres, for the stand-in: a new data folder gets a user, its
# password, a database and what is in /docker-entrypoint-initdb.d; then the server starts. Not for root.
set -euo pipefail

if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
    [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
    : "${POSTGRES_PASSWORD:?or POSTGRES_PASSWORD_FILE must be set}"
    export POSTGRES_USER POSTGRES_DB
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Not to be reached from outside before it is complete.
    pg_ctl --wait --silent -o "-c listen_addresses=''" start
    [ "$POSTGRES_DB" = postgres ] || createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) psql -v ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$script" ;;
        esac
    done
    pg_ctl --wait --silent --mode=fast stop
fi
[ "${1:-}" != postgres ] || set -- "$@" -c listen_addresses='*'
exec "$@"
