//! A year of simulated releases, large enough to measure the pages and to look at them.
//!
//! Numbers follow from the date alone: versions come out and spread, languages and platforms shift slowly,
//! weekends are quiet. Each window is written in one transaction, as the close job does it.

use ingest_api::release::Rule;
use ingest_api::release::{Family, Population, round};
use ingest_api::release::{Release, ReleasedBlock};
use ingest_api::window::{Window, WindowKind};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use shared::data_point::MetaUserCount;
use shared::data_point::PodVersion;
use shared::data_point::UserAppVersion;
use shared::data_point::UserLang;
use shared::data_point::UserPlatform;
use sqlx::{Connection, PgConnection};

/// How many days the year has.
pub const DAYS: u16 = 366;

/// Writes the releases of the days before `today`, and of their weeks and months. Returns how many numbers
/// they have.
///
/// # Errors
/// If the database rejects them.
pub async fn write(database_url: &str, today: Date) -> anyhow::Result<usize> {
    let first = today.saturating_sub(i64::from(DAYS).days());
    let mut connection = PgConnection::connect(database_url).await?;
    let mut written = 0;
    for kind in WindowKind::ALL {
        let mut window = Window::of_day(kind, first);
        if window.start() < first {
            window = Window::of_day(kind, window.end());
        }
        while window.end() <= today {
            let blocks = blocks(window, first);
            written += blocks.len();
            write_window(&mut connection, window, &blocks).await?;
            window = Window::of_day(kind, window.end());
        }
    }
    sqlx::query("ANALYZE release.block, release.closed_window").execute(&mut connection).await?;
    connection.close().await?;
    Ok(written)
}

/// The releases of that many weeks of the year, oldest first, as a reader gets them.
pub fn weeks(number: u16) -> Vec<Release> {
    let first = Date::constant(2026, 1, 5);
    let week = |n: u16| {
        let window = Window::of_day(WindowKind::Week, first.saturating_add((7 * i64::from(n)).days()));
        let blocks = blocks(window, first).into_iter().map(|(population, family, label, published)| {
            ReleasedBlock { population, family, label, published: published.unsigned_abs() }
        });
        Release::restored(window, blocks.collect())
    };
    (0..number).map(week).collect()
}

type Block = (Population, Family, String, i64);

async fn write_window(connection: &mut PgConnection, window: Window, blocks: &[Block]) -> anyhow::Result<()> {
    let (kind, start) = (window.kind().as_str(), window.start().to_string());
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "INSERT INTO release.closed_window (kind, starts_on, ends_on) VALUES ($1, $2::date, $3::date)",
    )
    .bind(kind)
    .bind(&start)
    .bind(window.end().to_string())
    .execute(&mut *transaction)
    .await?;
    let column = |of: fn(&Block) -> String| blocks.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO release.block (kind, starts_on, population, family, label, published)
         SELECT $1, $2::date, * FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[])",
    )
    .bind(kind)
    .bind(&start)
    .bind(column(|(population, ..)| population.as_str().to_owned()))
    .bind(column(|(_, family, ..)| family.as_str().to_owned()))
    .bind(column(|(_, _, label, _)| label.clone()))
    .bind(blocks.iter().map(|(.., published)| *published).collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// What is published about a window: the cells of each family that are large enough.
fn blocks(window: Window, first: Date) -> Vec<Block> {
    let day = window.start().since(first).map_or(0, |span| span.get_days());
    let t = f64::from(day);
    let activity: f64 = match (window.kind(), window.start().weekday()) {
        (WindowKind::Day, Weekday::Saturday | Weekday::Sunday) => 0.35,
        (WindowKind::Day, _) => 0.8,
        (WindowKind::Week, _) => 1.0,
        (WindowKind::Month, _) => 1.1,
    };
    let growth = 1.0 + t / 500.0;
    let (pods, through, direct) =
        (420.0 * growth * activity.max(0.8), 9_400.0 * growth * activity, 1_150.0 * growth * activity);
    let mut blocks = Vec::new();
    let mut publish = |population, family: Family, total: f64, parts: &[(String, f64)]| {
        let sum: f64 = parts.iter().map(|(_, part)| part).sum();
        let least = if family.rule() == Rule::Pods { 5.0 } else { 20.0 };
        let mut folded = 0.0;
        for (label, part) in parts {
            let count = total * part / sum;
            if count < least {
                folded += count;
            } else {
                blocks.push((population, family, label.clone(), round(count as u64) as i64));
            }
        }
        if folded >= least {
            blocks.push((population, family, "other".to_owned(), round(folded as u64) as i64));
        }
    };
    let whole = [("all".to_owned(), 1.0)];
    publish(Population::Pod, Family::PODS, pods, &whole);
    publish(Population::Pod, Family::of::<PodVersion>(), pods, &versions("", &POD_SERVER, t));
    publish(Population::Pod, Family::of::<MetaUserCount>(), pods, &named(&SIZES));
    for (population, total) in [(Population::Pod, through), (Population::Direct, direct)] {
        publish(population, Family::INSTALLATIONS, total, &whole);
        let mut apps: Vec<(String, f64)> = vec![("not_reported".to_owned(), 6.0)];
        for (app, part) in APPS {
            let of_app = versions(&format!("{app} "), &APP, t);
            let sum: f64 = of_app.iter().map(|(_, part)| part).sum();
            apps.extend(of_app.into_iter().map(|(label, n)| (label, n / sum * part)));
        }
        publish(population, Family::of::<UserAppVersion>(), total, &apps);
        publish(population, Family::of::<UserPlatform>(), total, &named(&PLATFORMS));
        let mut languages = named(&LANGUAGES);
        if let Some((_, german)) = languages.first_mut() {
            *german += t / 60.0;
        }
        publish(population, Family::of::<UserLang>(), total, &languages);
    }
    blocks
}

fn named(parts: &[(&str, f64)]) -> Vec<(String, f64)> {
    parts.iter().map(|(label, part)| ((*label).to_owned(), *part)).collect()
}

/// A version spreads from its release until the next version comes out.
fn versions(prefix: &str, releases: &[(&str, f64)], t: f64) -> Vec<(String, f64)> {
    let adopted = |day: f64| 1.0 / (1.0 + (-(t - day - 25.0) / 9.0).exp());
    let mut parts = Vec::new();
    for (n, (version, day)) in releases.iter().enumerate() {
        let next = releases.get(n + 1).map_or(0.0, |(_, day)| adopted(*day));
        let part = if n == 0 { 1.0 } else { adopted(*day) } - next;
        if part > 0.004 {
            parts.push((format!("{prefix}{version}"), part + 0.012));
        }
    }
    parts.push((format!("{prefix}not_reported"), 0.07));
    parts
}

const POD_SERVER: [(&str, f64); 8] = [
    ("0.3.2", -90.0),
    ("0.4.0", -20.0),
    ("0.4.1", 30.0),
    ("0.4.2", 95.0),
    ("0.5.0", 150.0),
    ("0.5.1", 215.0),
    ("0.6.0-rc.1", 270.0),
    ("0.6.0", 300.0),
];
const APP: [(&str, f64); 9] = [
    ("0.9.0", -60.0),
    ("1.0.0", 10.0),
    ("1.0.1", 45.0),
    ("1.1.0", 90.0),
    ("1.1.1", 130.0),
    ("1.2.0", 180.0),
    ("1.3.0", 230.0),
    ("1.3.1", 280.0),
    ("1.4.0", 325.0),
];
const APPS: [(&str, f64); 5] = [
    ("prose-app-web", 44.0),
    ("prose-app-macos", 21.0),
    ("prose-app-ios", 14.0),
    ("prose-app-android", 11.0),
    ("prose-app-windows", 4.0),
];
const SIZES: [(&str, f64); 9] = [
    ("0–4", 14.0),
    ("5–9", 19.0),
    ("10–19", 24.0),
    ("20–49", 17.0),
    ("50–99", 9.0),
    ("100–199", 5.0),
    ("200–399", 3.0),
    ("400–1299", 2.0),
    ("not_reported", 7.0),
];
const PLATFORMS: [(&str, f64); 14] = [
    ("web", 22.0),
    ("macos-aarch64", 19.0),
    ("macos-x86_64", 4.0),
    ("windows-x86_64", 15.0),
    ("windows-aarch64", 1.0),
    ("linux-x86_64", 6.0),
    ("linux-aarch64", 1.2),
    ("linux/other", 0.8),
    ("ios", 12.0),
    ("ipados", 3.0),
    ("android", 10.0),
    ("freebsd", 0.4),
    ("unrecognised", 0.6),
    ("not_reported", 5.0),
];
const LANGUAGES: [(&str, f64); 36] = [
    ("de-DE", 11.0),
    ("de-AT", 2.6),
    ("de-CH", 2.1),
    ("de/other", 0.4),
    ("en-US", 17.0),
    ("en-GB", 8.0),
    ("en-IE", 1.4),
    ("en-AU", 1.1),
    ("en-CA", 1.0),
    ("en", 2.0),
    ("en/other", 1.2),
    ("fr-FR", 13.0),
    ("fr-CH", 1.6),
    ("fr-BE", 1.5),
    ("fr-CA", 1.2),
    ("es-ES", 4.4),
    ("es-MX", 1.3),
    ("es-419", 0.8),
    ("pt-PT", 2.0),
    ("pt-BR", 3.1),
    ("it-IT", 2.9),
    ("nl-NL", 2.4),
    ("nl-BE", 0.9),
    ("pl-PL", 2.2),
    ("sv-SE", 1.3),
    ("da-DK", 0.9),
    ("nb-NO", 0.8),
    ("fi-FI", 0.7),
    ("cs-CZ", 0.9),
    ("uk-UA", 0.8),
    ("tr-TR", 0.6),
    ("ja-JP", 1.1),
    ("zh-CN", 0.9),
    ("ko-KR", 0.5),
    ("unrecognised", 0.4),
    ("not_reported", 6.0),
];
