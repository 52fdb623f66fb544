//! Each role reaches what its task needs, and nothing else.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::*;

/// The state in which a role's statement failed; `None` if it did not.
async fn attempt(service: &Service, role: &str, sql: &str) -> Option<String> {
    let mut connection = PgConnection::connect(service.app.database().url()).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("SET ROLE {role}"))).execute(&mut connection).await.unwrap();
    let outcome = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
    connection.close().await.unwrap();
    outcome.err().map(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
}

const REFUSED: &str = "42501";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_refused_what_is_not_its_task() {
    let service = Service::start().await;
    let event = pod_with_domain(3, "0.4.0");
    service.report(&[event, proxied(1, 1, "1.0.0", "web", "en")]).await;
    service.app.run_jobs().await.unwrap();
    service.token().await;
    let windows = service.database().open_windows().await.unwrap();
    assert_eq!(windows.len(), 3);

    let open_tables =
        windows.iter().flat_map(|w| ["installation", "pod"].map(|kind| format!("intake.w{}_{kind}", w.id)));
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
        ("prose_intake", "SELECT intake.drop_window(1)"),
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
