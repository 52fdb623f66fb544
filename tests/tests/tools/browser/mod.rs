//! The pages in a real browser: a reader's use of them, what they load, an accessibility check, and
//! screenshots.

mod driver;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::trial::{has, trial};
use anyhow::{Context, ensure};
use driver::{Browser, Theme};
use e2e::fleet::{Fleet, FleetSize};
use e2e::stack::{Stack, folder, vendor_config};
use e2e::year;
use ingest_api::access::{Token, expiry};
use ingest_api::app::{App, Schedule};
use ingest_api::store::tokens::StoredToken;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use libtest_mimic::Trial;
use shared::clock::FixedClock;

/// The day after the last release of a year.
const TODAY: Date = Date::constant(2026, 11, 23);

/// Every page, with the query that shows the most.
const PAGES: [(&str, &str); 12] = [
    ("overview", "/"),
    ("pods", "/insights/pods"),
    ("pod-versions", "/insights/pod_versions?below=0.5.0"),
    ("company-sizes", "/insights/pod_sizes?period=1y"),
    ("app-versions", "/insights/app_versions?below=1.2.0&period=1y"),
    ("platforms", "/insights/platforms?window=day"),
    ("languages", "/insights/languages?guide=15"),
    ("reach", "/insights/reach?window=day&period=1m"),
    ("domains", "/insights/domains"),
    ("methodology", "/methodology"),
    ("empty", "/insights/platforms?from=2024-01-01&to=2024-02-01"),
    ("not-found", "/nowhere"),
];

pub(crate) fn trials() -> Vec<Trial> {
    let no_browser =
        (!(has("chromium") && has("chromedriver"))).then_some("chromium and chromedriver are not installed");
    let axe = axe();
    let no_axe = no_browser.or(axe.as_ref().err().map(|_| "axe-core cannot be had with pip"));
    vec![
        trial("a_reader_logs_in_looks_at_everything_and_logs_out", no_browser, || wait(a_reader_at_work())),
        trial("a_reader_without_the_right_to_domains_is_refused", no_browser, || wait(no_right_to_domains())),
        trial("pages_load_nothing_from_elsewhere_and_run_no_script", no_browser, || {
            wait(nothing_from_elsewhere())
        }),
        trial("everything_is_reached_with_the_keyboard_and_shows_where_it_is", no_browser, || {
            wait(keyboard())
        }),
        trial("an_accessibility_check_finds_nothing_serious", no_axe, || wait(accessible())),
        trial("pictures_of_every_page_are_taken", no_browser, || wait(pictures())),
    ]
}

fn wait(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(test)
}

/// The target folder in which this test was built.
fn target() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    Ok(executable.ancestors().nth(3).context("a test lies three folders below")?.to_owned())
}

/// The accessibility check, a package of another language.
fn axe() -> anyhow::Result<PathBuf> {
    let folder = target()?.join("axe");
    let script = folder.join("axe_playwright_python/axe.min.js");
    if !script.is_file() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("axe.txt");
        let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest"];
        let fetched =
            Command::new("python3").args(pip).arg(&folder).arg("--requirement").arg(list).output()?;
        ensure!(fetched.status.success(), "pip: {}", String::from_utf8_lossy(&fetched.stderr));
        let wheels = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let wheel = wheels
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == "whl"))
            .context("a wheel")?;
        let unpacked =
            Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder).output()?;
        ensure!(unpacked.status.success(), "zipfile: {}", String::from_utf8_lossy(&unpacked.stderr));
    }
    ensure!(script.is_file(), "the package has no axe.min.js");
    Ok(script)
}

/// A token with or without the right to read domains.
async fn token(
    vendor: &App,
    name: &str,
    may_read_domains: bool,
    now: jiff::Timestamp,
) -> anyhow::Result<Token> {
    let token = Token::generate();
    let expires_at = expiry(now, Duration::from_secs(86_400));
    let stored = StoredToken { name: name.to_owned(), may_read_domains, expires_at };
    ensure!(vendor.database().database.insert_token(&stored, &token.digest()).await?, "the name is taken");
    Ok(token)
}

/// A vendor with a year of releases, and a browser that is logged in there.
async fn with_a_year<T>(look: impl AsyncFnOnce(&Browser) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let folder = folder()?;
    let now = TODAY.to_zoned(TimeZone::UTC)?.timestamp();
    let config = vendor_config(&folder.path().join("vendor"));
    let vendor = App::start(config, Arc::new(FixedClock::new(now)), Schedule::OnCall).await?;
    let looked = async {
        year::write(vendor.database().url(), TODAY).await?;
        vendor
            .database()
            .database
            .note_domains(
                &["chat.example".to_owned(), "a-company-with-a-rather-long-name.example".to_owned()],
                Date::constant(2026, 11, 16),
            )
            .await?;
        let token = token(&vendor, "A reader", true, now).await?;
        Browser::with(&format!("http://{}", vendor.address()), async |browser| {
            browser.go(&ingest_api::login_path(&token)).await?;
            look(browser).await
        })
        .await
    }
    .await;
    vendor.shutdown().await;
    looked
}

async fn a_reader_at_work() -> anyhow::Result<()> {
    let size = FleetSize { days: 16, ..FleetSize::SMALL };
    let fleet = Fleet::new(7, size, Date::constant(2026, 8, 24));
    let folder = folder()?;
    let mut stack = Stack::start(&fleet, folder.path()).await?;
    let worked = async {
        for day in fleet.days() {
            stack.play(&fleet, &day, 1).await?;
        }
        let now = Date::constant(2026, 9, 9).to_zoned(TimeZone::UTC)?.timestamp();
        let token = token(stack.vendor(), "A reader", true, now).await?;
        Browser::with(&format!("http://{}", stack.vendor().address()), async |browser| {
            work(browser, &token).await
        })
        .await
    }
    .await;
    stack.shutdown().await;
    worked
}

async fn work(browser: &Browser, token: &Token) -> anyhow::Result<()> {
    // Without a session, a page leads to the form, and the form back to the page.
    browser.go("/insights/platforms?window=day").await?;
    browser.wait_for_title("Log in").await?;
    browser.fill("#token", "not a token").await?;
    browser.click("main button").await?;
    browser.wait_for("[role=alert]").await?;
    browser.fill("#token", token.reveal()).await?;
    browser.click("main button").await?;
    browser.wait_for_title("Platforms").await?;
    ensure!(browser.url().await?.ends_with("/insights/platforms?window=day"), "{}", browser.url().await?);

    // Every page of the menu.
    let menu = browser.attributes(".menu a", "href").await?;
    ensure!(menu.len() == 10, "{menu:?}");
    for path in &menu {
        browser.go(path).await?;
        let current = browser.text(".menu [aria-current]").await?;
        ensure!(browser.text("h1").await? == current, "{path}");
        ensure!(!browser.exists("section.empty").await?, "{path} has nothing to show");
    }

    // Window, period and population.
    browser.go("/insights/platforms").await?;
    let before = browser.text("table.bars caption").await?;
    browser.click_link("Day").await?;
    browser.wait_for_url("window=day").await?;
    ensure!(browser.text("table.bars caption").await? != before);
    browser.click_link("1 month").await?;
    browser.wait_for_url("period=1m").await?;
    browser.click("details.dates summary").await?;
    browser.set_value("input[name=from]", "2026-09-01").await?;
    browser.set_value("input[name=to]", "2026-09-03").await?;
    browser.click("details.dates button").await?;
    browser.wait_for_url("from=2026-09-01").await?;
    ensure!(
        browser.attributes("details.numbers tbody tr", "data-start").await?
            == ["2026-09-03", "2026-09-02", "2026-09-01"]
    );
    browser.click_link("Without a Pod").await?;
    browser.wait_for_url("population=direct").await?;
    ensure!(browser.url().await?.contains("from=2026-09-01"), "what was chosen stays chosen");

    // The oldest version that would still work.
    browser.go("/insights/pod_versions?window=day").await?;
    browser.set_value("#below", "0.5.0").await?;
    browser.click("form.ask button").await?;
    browser.wait_for_url("below=0.5.0").await?;
    ensure!(browser.url().await?.contains("window=day"));
    let share = browser.text("[data-is=below-share]").await?;
    ensure!(share.ends_with('%'), "{share}");

    // The guide line.
    browser.go("/insights/languages").await?;
    browser.set_value("#guide", "35").await?;
    browser.click("form.ask button").await?;
    browser.wait_for_url("guide=35").await?;
    ensure!(browser.text("section.verdict").await?.contains("35"));

    // The same data as a file.
    let csv = browser.download("CSV").await?;
    let columns = csv.lines().next().unwrap_or_default().trim_start_matches('\u{feff}');
    ensure!(columns == "window,start,end,population,label,count,share", "{csv}");
    ensure!(csv.lines().count() > 2, "{csv}");

    // Log out.
    browser.click(".account button").await?;
    browser.wait_for_title("Log in").await?;
    browser.go("/").await?;
    browser.wait_for_title("Log in").await
}

async fn no_right_to_domains() -> anyhow::Result<()> {
    let folder = folder()?;
    let now = TODAY.to_zoned(TimeZone::UTC)?.timestamp();
    let config = vendor_config(&folder.path().join("vendor"));
    let vendor = App::start(config, Arc::new(FixedClock::new(now)), Schedule::OnCall).await?;
    let refused = async {
        let database = &vendor.database().database;
        database.note_domains(&["secret.example".to_owned()], Date::constant(2026, 11, 16)).await?;
        let token = token(&vendor, "No domains", false, now).await?;
        Browser::with(&format!("http://{}", vendor.address()), async |browser| {
            browser.go(&ingest_api::login_path(&token)).await?;
            // Nothing has been released, and the page says so.
            browser.wait_for("section.empty").await?;
            ensure!(browser.text("section.empty").await?.contains("Nothing has been released yet"));
            let menu = browser.attributes(".menu a", "href").await?;
            ensure!(menu.len() == 9 && !menu.iter().any(|path| path.ends_with("domains")), "{menu:?}");
            browser.go("/insights/domains").await?;
            browser.wait_for_title("This is not for your token").await?;
            ensure!(!browser.driver().source().await?.contains("secret.example"));
            Ok(())
        })
        .await
    }
    .await;
    vendor.shutdown().await;
    refused
}

async fn nothing_from_elsewhere() -> anyhow::Result<()> {
    with_a_year(async |browser| {
        browser.requests().await?;
        for (name, path) in PAGES {
            browser.go(path).await?;
            let requests = browser.requests().await?;
            ensure!(!requests.is_empty(), "{name}: the log of requests is empty, so this says nothing");
            // The browser draws date fields with its own built-in images.
            let asked = requests.iter().filter(|url| !url.starts_with("data:"));
            let elsewhere: Vec<_> = asked.filter(|url| !url.starts_with(browser.base())).collect();
            ensure!(elsewhere.is_empty(), "{name} asked for {elsewhere:?}");
            ensure!(!browser.exists("script, style, [style], iframe, object").await?, "{name} has a script or style");
        }
        // The style sheet is active; otherwise the checks of looks would prove nothing.
        browser.go("/").await?;
        let shown = browser.script("return getComputedStyle(document.querySelector('.tiles')).display").await?;
        ensure!(shown == "grid", "{shown}");
        // Injected scripts, styles and images do not work. The driver's own are exempt.
        let inject = "const script = document.createElement('script');
            script.textContent = 'document.title = \"injected\"';
            document.body.append(script);
            const paragraph = document.createElement('p');
            paragraph.innerHTML = '<img src=x onerror=\"document.title = 1\"><b style=\"position: fixed\">b</b>';
            document.body.append(paragraph);
            return [document.title, getComputedStyle(paragraph.querySelector('b')).position];";
        let injected = browser.script(inject).await?;
        ensure!(injected[0].as_str().is_some_and(|title| title.starts_with("Overview")), "{injected}");
        ensure!(injected[1] == "static", "{injected}");
        let beacon = "return fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => String(error));";
        let refused = browser.script(beacon).await?;
        ensure!(refused.as_str().is_some_and(|error| error.contains("TypeError")), "{refused}");
        Ok(())
    })
    .await
}

async fn keyboard() -> anyhow::Result<()> {
    with_a_year(async |browser| {
        for (name, path) in PAGES {
            browser.go(path).await?;
            let look = "const all = 'a[href], button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]';
                window.reached = new Set();
                window.unmarked = [];
                document.addEventListener('focusin', (event) => {
                    window.reached.add(event.target);
                    if (getComputedStyle(event.target).outlineStyle === 'none') window.unmarked.push(event.target.outerHTML);
                });
                return [...document.querySelectorAll(all)].filter((control) => control.checkVisibility()).length;";
            let controls = browser.script(look).await?.as_u64().context("a number")?;
            ensure!(controls > 2, "{name} has {controls} controls");
            // A date field takes several steps.
            for _ in 0..controls + 10 {
                browser.press_tab().await?;
            }
            let reached = browser.script("return window.reached.size").await?;
            ensure!(reached.as_u64() == Some(controls), "{name}: {reached} of {controls} controls");
            let unmarked = browser.script("return window.unmarked").await?;
            ensure!(unmarked.as_array().is_some_and(Vec::is_empty), "{name}: {unmarked}");
        }
        Ok(())
    })
    .await
}

async fn accessible() -> anyhow::Result<()> {
    let axe = std::fs::read_to_string(axe()?)?;
    with_a_year(async |browser| {
        let mut serious = Vec::new();
        for (theme, width) in [(Theme::Light, 1280), (Theme::Dark, 1280), (Theme::Light, 390)] {
            browser.use_theme(theme).await?;
            browser.resize(width, 900).await?;
            for (name, path) in PAGES.into_iter().chain([("login", "/login")]) {
                browser.go(path).await?;
                // Collapsed sections are checked, too.
                browser
                    .script(
                        "document.querySelectorAll('details').forEach((details) => { details.open = true })",
                    )
                    .await?;
                browser.script(&format!("{axe}; window.axe = axe;")).await?;
                let found =
                    browser.script("return axe.run(document, { resultTypes: ['violations'] })").await?;
                ensure!(
                    found["passes"].as_array().is_some_and(|passes| passes.len() > 10),
                    "{name}: it did not run"
                );
                for violation in found["violations"].as_array().context("violations")? {
                    let impact = violation["impact"].as_str().unwrap_or_default();
                    let node = &violation["nodes"][0];
                    let line = format!(
                        "{name} ({theme:?}, {width}): {impact}: {}: {} {}",
                        violation["help"], node["html"], node["failureSummary"]
                    );
                    if matches!(impact, "serious" | "critical") {
                        serious.push(line);
                    }
                }
            }
        }
        // An image without a name is found: a check that cannot fail proves nothing.
        browser.script("document.querySelector('main').append(new Image())").await?;
        let found = browser.script("return axe.run(document, { runOnly: ['image-alt'] })").await?;
        ensure!(found["violations"].as_array().is_some_and(|violations| violations.len() == 1), "{found}");
        ensure!(serious.is_empty(), "{}", serious.join("\n"));
        Ok(())
    })
    .await
}

async fn pictures() -> anyhow::Result<()> {
    let folder = target()?.join("screenshots");
    std::fs::create_dir_all(&folder)?;
    let taken = with_a_year(async |browser| {
        let mut taken = 0;
        for theme in [Theme::Light, Theme::Dark] {
            browser.use_theme(theme).await?;
            for width in [1280, 390] {
                for (name, path) in PAGES {
                    browser.go(path).await?;
                    let picture = browser.picture(width).await?;
                    let wider = browser.script("return document.documentElement.scrollWidth").await?;
                    ensure!(wider.as_u64() <= Some(width.into()), "{name} is wider than {width}: {wider}");
                    let theme = format!("{theme:?}").to_lowercase();
                    std::fs::write(folder.join(format!("{name}-{width}-{theme}.png")), picture)?;
                    taken += 1;
                }
            }
        }
        browser.driver().delete_all_cookies().await?;
        for theme in [Theme::Light, Theme::Dark] {
            browser.use_theme(theme).await?;
            for width in [1280, 390] {
                browser.go("/login").await?;
                let theme = format!("{theme:?}").to_lowercase();
                std::fs::write(
                    folder.join(format!("login-{width}-{theme}.png")),
                    browser.picture(width).await?,
                )?;
                taken += 1;
            }
        }
        Ok(taken)
    })
    .await?;
    write_out(&format!("{taken} pictures of pages are in {}", folder.display()));
    Ok(())
}

/// The harness does not capture what is written to standard error directly.
fn write_out(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
