#!/usr/bin/env bash
# At the first start of Postgres: the role of ingest-api, which is no superuser, and its database. The right to create roles
# is for those that the schema is split into.
set -euo pipefail
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat /run/secrets/database/ingest_password`
CREATE ROLE prose_ingest LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE prose_ingest OWNER prose_ingest;
SQL
