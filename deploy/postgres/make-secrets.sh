#!/usr/bin/env bash
# Draws the passwords of the database, unless they are there: that of its superuser, for the folder that only Postgres
# sees; and that of ingest-api, in the URL that it connects with. Prints neither.
set -euo pipefail
umask 022

draw() {
    head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

# keep FILE: writes what comes in there, whole or not at all.
keep() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

for password in postgres_password ingest_password; do
    if [ ! -s "/secrets/database/$password" ]; then
        draw | keep "/secrets/database/$password"
        echo "drew a new $password for the database"
    fi
done
printf 'postgres://prose_ingest:%s@postgres/prose_ingest\n' "$(</secrets/database/ingest_password)" |
    keep /secrets/ingest/database_url
