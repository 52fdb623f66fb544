//! Each role can do what its task needs, and nothing else.

use std::time::Duration;

use ingest_api::store::login::Role;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::*;

/// The SQLSTATE of a failed statement; `None` if it succeeded.
async fn outcome(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let error = connection.execute(AssertSqlSafe(sql.to_owned())).await.err()?;
    Some(error.as_database_error().unwrap().code().unwrap().into_owned())
}

/// As above, for a connection of a role as the service makes it.
async fn attempt(service: &Service, group: &str, sql: &str) -> Option<String> {
    let role = Role::ALL.into_iter().find(|role| role.group() == group).unwrap();
    let options = service.database().options_of(role);
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    let outcome = outcome(&mut connection, sql).await;
    connection.close().await.unwrap();
    outcome
}

/// Statements by which a role might try to become another. In these tests, `prose` owns the database.
const WAYS_OUT: [&str; 16] = [
    "SELECT 'it stays what it is'",
    "RESET ROLE",
    "SET ROLE NONE",
    "SET ROLE prose",
    "SET ROLE prose_intake",
    "SET ROLE prose_release",
    "SET ROLE prose_reader",
    "SELECT set_config('role', 'none', false)",
    "SELECT set_config('role', 'prose', false)",
    "SET SESSION AUTHORIZATION prose",
    "SELECT set_config('session_authorization', 'prose', false)",
    "SET SESSION AUTHORIZATION DEFAULT",
    "GRANT prose TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "RESET ALL",
    "DISCARD ALL",
];

/// What only the owner may do, whatever the task.
const DEEDS: [&str; 14] = [
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY release.block TO '/tmp/prose-attack'",
    "CREATE TABLE intake.own (x int)",
    "CREATE TABLE release.own (x int)",
    "CREATE TABLE access.own (x int)",
    "CREATE TABLE optin.own (x int)",
    "CREATE TABLE public.own (x int)",
    "CREATE TEMPORARY TABLE own (x int)",
    "CREATE SCHEMA own",
    "CREATE ROLE own",
    "SET log_statement = 'all'",
];

/// What such a connection can do beyond the task of every role, after any of these attempts: the tables that
/// it can read, and the deeds that it can do.
pub(crate) async fn reached(options: &PgConnectOptions, tables: &[String]) -> Vec<String> {
    let mut reached = std::collections::BTreeSet::new();
    for way in WAYS_OUT {
        let mut connection = PgConnection::connect_with(options).await.unwrap();
        // Some statements succeed, but lead back to the same role.
        let _ = outcome(&mut connection, way).await;
        let reads = tables.iter().map(|table| (table.clone(), format!("SELECT * FROM {table}")));
        for (what, sql) in reads.chain(DEEDS.map(|deed| (deed.to_owned(), deed.to_owned()))) {
            // Successful deeds are rolled back.
            let _ = connection.execute("BEGIN").await.unwrap();
            match outcome(&mut connection, &sql).await.as_deref() {
                None => drop(reached.insert(what)),
                Some(state) => assert_eq!(state, REFUSED, "{way}, {sql}"),
            }
            let _ = connection.execute("ROLLBACK").await.unwrap();
        }
        connection.close().await.unwrap();
    }
    reached.into_iter().collect()
}

/// The tables of everything that is not released.
pub(crate) async fn unreleased_tables(service: &Service) -> Vec<String> {
    let tables = service
        .query(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables
             WHERE table_schema IN ('intake', 'access', 'optin') ORDER BY 1",
        )
        .await
        .unwrap();
    assert!(tables.len() >= 3 + 3, "{tables:?}");
    tables
}

const REFUSED: &str = "42501";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_calls_the_functions_of_its_task_and_no_others() {
    let service = Service::start().await;
    let sql = "SELECT call FROM (
                   SELECT r.rolname || ' ' || n.nspname || '.' || p.proname AS call
                   FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, pg_roles r
                   WHERE n.nspname IN ('intake', 'release', 'access', 'optin')
                     AND r.rolname IN ('prose_intake', 'prose_release', 'prose_reader')
                     AND has_function_privilege(r.oid, p.oid, 'EXECUTE') AND p.prorettype <> 'trigger'::regtype
               ) AS calls ORDER BY call COLLATE \"C\"";
    assert_eq!(
        service.query(sql).await.unwrap(),
        [
            "prose_intake intake.append",
            "prose_intake intake.create_window",
            "prose_reader access.end_session",
            "prose_reader access.open_session",
            "prose_reader access.valid_session",
            "prose_reader access.valid_token",
            "prose_reader optin.domains",
            "prose_release intake.begin_closing",
            "prose_release intake.begin_merging",
            "prose_release intake.begin_part",
            "prose_release intake.begin_releasing",
            "prose_release intake.drop_part",
            "prose_release intake.finish_merging",
            "prose_release intake.remove_window",
            "prose_release intake.take",
            "prose_release intake.take_turn",
            "prose_release intake.waiting_bytes",
            "prose_release release.purge",
        ]
    );
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_refused_what_is_not_its_task() {
    let service = Service::start().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event, proxied(1, 1, "1.0.0", "web", "en")]).await;
    service.app.run_jobs().await.unwrap();
    service.token().await;
    let windows = service.database().open_windows().await.unwrap();
    assert_eq!(windows.len(), 3);

    let open_tables = windows.iter().map(|window| format!("intake.w{}_merged", window.id));
    for table in open_tables {
        let read = format!("SELECT * FROM {table}");
        for role in ["prose_reader", "prose_intake"] {
            assert_eq!(attempt(&service, role, &read).await.as_deref(), Some(REFUSED), "{role}: {read}");
        }
        assert_eq!(attempt(&service, "prose_release", &read).await, None);
        for role in ["prose_reader", "prose_release"] {
            let write = format!("INSERT INTO {table} SELECT * FROM {table}");
            assert_eq!(attempt(&service, role, &write).await.as_deref(), Some(REFUSED), "{role}: {write}");
        }
    }
    for role in ["prose_intake", "prose_release", "prose_reader"] {
        let tokens = attempt(&service, role, "SELECT * FROM access.token").await;
        assert_eq!(tokens.as_deref(), Some(REFUSED), "{role}");
        let sessions = attempt(&service, role, "SELECT * FROM access.session").await;
        assert_eq!(sessions.as_deref(), Some(REFUSED), "{role}");
    }
    for (role, sql) in [
        ("prose_reader", "SELECT * FROM intake.open_window"),
        ("prose_reader", "SELECT * FROM optin.domain"),
        ("prose_reader", "INSERT INTO release.closed_window VALUES ('day', '2026-11-01', '2026-11-02')"),
        ("prose_reader", "SELECT intake.begin_closing(1)"),
        ("prose_reader", "CREATE TABLE release.own (x int)"),
        ("prose_intake", "SELECT * FROM release.block"),
        ("prose_intake", "INSERT INTO release.closed_window VALUES ('day', '2026-11-01', '2026-11-02')"),
        ("prose_intake", "SELECT intake.remove_window(1)"),
        ("prose_intake", "SELECT intake.begin_merging(1)"),
        ("prose_intake", "SELECT intake.begin_releasing(1)"),
        ("prose_reader", "SELECT intake.begin_releasing(1)"),
        ("prose_intake", "SELECT intake.lock_table(1)"),
        ("prose_intake", "SELECT intake.begin_part()"),
        ("prose_reader", "SELECT intake.drop_part()"),
        ("prose_release", "SELECT intake.put_away(1)"),
        ("prose_intake", "SELECT intake.take(1, 1)"),
        ("prose_reader", "SELECT intake.take(1, 1)"),
        ("prose_release", "SELECT * FROM intake.reporters(1)"),
        ("prose_intake", "SELECT * FROM intake.reporters(1)"),
        ("prose_intake", "SELECT * FROM intake.arrival"),
        ("prose_intake", "SELECT * FROM intake.arrival_day"),
        ("prose_release", "SELECT * FROM intake.arrival_month"),
        ("prose_intake", "SELECT intake.kind_of(1)"),
        ("prose_reader", "SELECT intake.has_arrivals(1)"),
        ("prose_intake", "INSERT INTO intake.arrival VALUES ('d', 1, '')"),
        ("prose_release", "SELECT * FROM intake.arrival"),
        ("prose_release", "SELECT intake.append('{1}', '{\"\"}')"),
        ("prose_reader", "SELECT intake.append('{1}', '{\"\"}')"),
        ("prose_reader", "DELETE FROM access.session"),
        ("prose_intake", "SELECT * FROM optin.domains('', now())"),
        ("prose_intake", "SELECT access.open_session('', '', now(), now())"),
        ("prose_release", "SELECT * FROM access.valid_session('', now())"),
        ("prose_release", "SELECT access.end_session('')"),
        ("prose_release", "UPDATE release.block SET published = 5"),
        ("prose_release", "DELETE FROM release.closed_window"),
        ("prose_release", "INSERT INTO optin.domain VALUES ('x.example', '2026-11-16')"),
    ] {
        assert_eq!(attempt(&service, role, sql).await.as_deref(), Some(REFUSED), "{role}: {sql}");
    }
    assert_eq!(attempt(&service, "prose_reader", "SELECT * FROM release.block").await, None);
    // Within its task, but harmful to others: a window that is not valid, and a report after the end.
    for (sql, state) in [
        ("SELECT intake.create_window('day', 'infinity', 0)", "23514"),
        ("SELECT intake.create_window('week', '2026-11-24', 0)", "23514"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT intake.append('{}', '{}')", "25000"),
    ] {
        assert_eq!(attempt(&service, "prose_intake", sql).await.as_deref(), Some(state), "{sql}");
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_leads_out_of_a_role() {
    let service = Service::start().await;
    service.report(&ten_pods(2)).await;
    service.merge().await;
    let tables = unreleased_tables(&service).await;
    assert!(tables.iter().any(|table| table.starts_with("intake.part_")), "{tables:?}");
    for role in Role::ALL {
        let reached = reached(service.database().options_of(role), &tables).await;
        let of_windows = |table: &&String| table.ends_with("_merged");
        let expected: Vec<String> = match role {
            Role::Intake => vec!["intake.open_window".to_owned(), "optin.domain".to_owned()],
            Role::Release => ["intake.open_window".to_owned()]
                .into_iter()
                .chain(tables.iter().filter(of_windows).cloned())
                .chain(["optin.domain".to_owned()])
                .collect(),
            Role::Reader => Vec::new(),
        };
        assert_eq!(reached, expected, "{role:?}");
    }
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_is_connected_as_its_three_roles_and_not_as_its_owner() {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    assert_eq!(service.get("/v1/insights/pods?window=day", Some(&token)).await.status, 200);
    let connected = "SELECT DISTINCT usename::text FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY 1";
    let database = service.query("SELECT current_database()::text").await.unwrap().remove(0);
    let mut logins = Role::ALL.map(|role| role.login(&database));
    logins.sort();
    let only_logins = async {
        while service.query(connected).await.unwrap() != logins {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), only_logins).await;
    assert!(waited.is_ok(), "{:?}", service.query(connected).await);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn insights_and_pages_are_read_as_the_reader() {
    let service = Service::start().await;
    service.report(&ten_pods(6)).await;
    service.set_clock("2026-11-23T08:00:00Z");
    service.app.run_jobs().await.unwrap();
    let token = service.token().await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for path in ["/v1/insights/pods?window=day", "/insights/pods?window=day"] {
            statuses.push(service.get(path, Some(&token)).await.status);
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200]);
    let revoke = "REVOKE SELECT ON release.closed_window, release.block FROM prose_reader";
    service.query(revoke).await.unwrap();
    assert_eq!(statuses().await, [503, 503]);
    service.app.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_domains_from_a_token_without_the_right() {
    let service = Service::start().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event]).await;
    service.app.run_jobs().await.unwrap();
    let (database, now) = (service.database(), "2026-11-22T12:00:00Z".parse().unwrap());
    let with_right = ingest_api::access::Token::generate();
    let stored = ingest_api::store::tokens::StoredToken {
        name: "sales".to_owned(),
        may_read_domains: true,
        expires_at: Some("2026-11-23T12:00:00Z".parse().unwrap()),
    };
    database.insert_token(&stored, &with_right.digest()).await.unwrap();
    assert_eq!(database.domains_for(&with_right.digest(), now).await.unwrap().len(), 1);
    let without = ingest_api::access::Token::generate();
    let stored = ingest_api::store::tokens::StoredToken {
        name: "plain".to_owned(),
        may_read_domains: false,
        expires_at: None,
    };
    database.insert_token(&stored, &without.digest()).await.unwrap();
    assert_eq!(database.domains_for(&without.digest(), now).await.unwrap().len(), 0);
    let later = "2026-11-24T12:00:00Z".parse().unwrap();
    assert_eq!(database.domains_for(&with_right.digest(), later).await.unwrap().len(), 0, "expired");
    service.app.shutdown().await;
}

/// A function that runs as the owner cannot be led to an object that a role created. That includes a
/// temporary type with a name that it uses, even if the right to create one was given back to the public.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_as_the_owner_uses_nothing_that_a_role_has_made() {
    const OWN_TYPE: &str = "
        CREATE FUNCTION pg_temp.run(value pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            EXECUTE 'CREATE TABLE public.made_by_the_owner ()';
            RETURN true;
        EXCEPTION WHEN insufficient_privilege OR duplicate_table THEN
            RETURN true;
        END $$;
        CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.run(value));";
    let made = "SELECT coalesce(to_regclass('public.made_by_the_owner')::text, 'nothing')";
    for defence in [true, false] {
        let service = Service::start().await;
        service.report(&[pod(3, "0.4.0")]).await;
        let owner = "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$";
        let mut connection = PgConnection::connect(service.app.database().url()).await.unwrap();
        connection.execute(owner).await.unwrap();
        // This function has no variable of a type that is looked up by name; another one may.
        let variable = ("\nBEGIN\n", "\nDECLARE own text := prefix;\nBEGIN\n");
        mutate(&service, "intake.create_table", &[variable]).await;
        if !defence {
            let as_it_was = "ALTER FUNCTION intake.create_table SET search_path = ''";
            connection.execute(as_it_was).await.unwrap();
        }
        let id = service.database().open_windows().await.unwrap()[0].id;
        let options = service.database().options_of(Role::Release).clone();
        let mut role = PgConnection::connect_with(&options).await.unwrap();
        role.execute(OWN_TYPE).await.unwrap();
        role.execute("BEGIN").await.unwrap();
        for call in ["begin_merging", "finish_merging"] {
            let call = format!("SELECT intake.{call}({id})");
            role.execute(sqlx::raw_sql(AssertSqlSafe(call))).await.unwrap();
        }
        role.execute("COMMIT").await.unwrap();
        let expected = if defence { "nothing" } else { "made_by_the_owner" };
        assert_eq!(service.query(made).await.unwrap(), [expected]);
        service.app.shutdown().await;
    }
}

/// A restored dump is open to the public, and a role may have set settings for itself. The next start undoes
/// both.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_shuts_the_public_out_and_takes_settings_from_a_role() {
    let service = Service::start().await;
    let mut owner = PgConnection::connect(service.app.database().url()).await.unwrap();
    let open = "DO $$ BEGIN EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$";
    owner.execute(open).await.unwrap();
    let options = service.database().options_of(Role::Intake).clone();
    let mut role = PgConnection::connect_with(&options).await.unwrap();
    role.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on").await.unwrap();

    let restarted = service.another().await;
    let public = "SELECT has_database_privilege('public', current_database(), 'CONNECT')::text
                  UNION SELECT has_database_privilege('public', current_database(), 'TEMPORARY')::text";
    assert_eq!(service.query(public).await.unwrap(), ["false"]);
    let answer = post_to(restarted.address(), "/event", &pod(3, "0.4.0")).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    restarted.shutdown().await;
    service.app.shutdown().await;
}
