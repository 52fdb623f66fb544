//! Real populations, laid beside the repository → how much of them a release shows, day by day.
//!
//! ```text
//! cargo run --release --package e2e --bin replay -- FOLDER
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use ingest_api::intake::ValidReport;
use ingest_api::keys::KeyDirectory;
use ingest_api::release::{FamilyId, Noise, Population, Tally, Threshold};
use ingest_api::window::codes::unpack;
use ingest_api::window::{Window, WindowKey, WindowKind};
use jiff::civil::Date;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use shared::event::App;

/// Measures what a release shows of real servers, and of random fleets.
///
/// The folder holds four files with a header line each, except the days:
///
/// - `lemmy-servers-runs.csv`: `server,from,to,version,users_median`; `from` and `to` are line numbers of the days,
///   from 0
/// - `days.txt`: a date a line
/// - `platforms-browsers-2026.csv`: `platform,architecture,bitness,share`
/// - `locales-linux-2023-06.csv`: `locale,computers`
///
/// Each user of a server is an installation. Its platform and locale are drawn from the two shares; the app
/// follows from the platform.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the files are
    folder: PathBuf,
    /// Only each n-th day
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
}

fn main() -> anyhow::Result<()> {
    let Arguments { folder, every } = Arguments::parse();
    let shares = Shares::read(&folder)?;
    let keys = tempfile::tempdir()?;
    let keys = Keys { directory: KeyDirectory::open(keys.path())?, known: HashMap::new() };
    let mut measured = Measured { shares, keys };
    measured.series(&folder, every.into())?;
    measured.fleets()
}

/// How often each platform and locale occurs.
struct Shares {
    platforms: Vec<(String, f64)>,
    locales: Vec<(String, f64)>,
}

fn lines(folder: &Path, name: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

fn number(of: &[String], column: usize) -> anyhow::Result<f64> {
    let text = of.get(column).context("a column is missing")?;
    if text.is_empty() { Ok(0.0) } else { Ok(text.parse()?) }
}

impl Shares {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut platforms = Vec::new();
        for line in lines(folder, "platforms-browsers-2026.csv")? {
            let [system, architecture, bits, _] = &line[..] else { anyhow::bail!("{line:?}") };
            let family = match system.as_str() {
                "iPhone" | "iOS" => "ios".to_owned(),
                "iPad" => "ipados".to_owned(),
                "Chrome OS" => "chromeos".to_owned(),
                other => other.to_lowercase(),
            };
            let architecture = match (architecture.as_str(), bits.as_str()) {
                ("x86", "64") => "-x86_64",
                ("x86", _) => "-x86",
                ("arm", "64") => "-aarch64",
                ("arm", _) => "-arm",
                _ => "",
            };
            platforms.push((format!("{family}{architecture}"), number(&line, 3)?));
        }
        let mut locales = Vec::new();
        for line in lines(folder, "locales-linux-2023-06.csv")? {
            locales.push((line[0].clone(), number(&line, 1)?));
        }
        Ok(Self { platforms, locales })
    }
}

/// One of them, by its weight.
fn choose<'a>(random: &mut StdRng, of: &'a [(String, f64)]) -> &'a str {
    let all: f64 = of.iter().map(|(_, weight)| weight).sum();
    let mut at = random.random_range(0.0..all);
    for (value, weight) in of {
        at -= weight;
        if at < 0.0 {
            return value;
        }
    }
    &of[of.len() - 1].0
}

/// Random keys of windows; the same for the same name.
struct Keys {
    directory: KeyDirectory,
    known: HashMap<Window, WindowKey>,
}

impl Keys {
    fn key(&mut self, window: Window) -> anyhow::Result<WindowKey> {
        if let Some(key) = self.known.get(&window) {
            return Ok(key.clone());
        }
        let key = self.directory.read_or_create(window)?;
        self.known.insert(window, key.clone());
        Ok(key)
    }

    fn noise(&mut self, day: Date) -> anyhow::Result<Noise> {
        let window = Window::of_day(WindowKind::Day, day);
        let (own, month) = (self.key(window)?, self.key(Noise::month_of(window))?);
        Noise::of(window, Some(own), Some(month)).context("keys")
    }
}

/// What an installation says.
type Says = (String, String, String);

/// The installations of a day.
struct Day {
    tally: Tally,
    /// The true numbers of each family, by the label of the value.
    truth: BTreeMap<FamilyId, BTreeMap<String, u64>>,
    number: u64,
}

impl Day {
    /// Installations by Pod, and by what they say.
    fn of(pods: &[BTreeMap<Says, u32>]) -> anyhow::Result<Self> {
        let (mut tally, mut known) = (Tally::of::<App>(), HashMap::new());
        let mut day_truth: BTreeMap<FamilyId, BTreeMap<String, u64>> = BTreeMap::new();
        let mut number = 0;
        let families: Vec<_> = FamilyId::of_population(Population::Direct).filter_map(of_point).collect();
        for (pod, says) in pods.iter().enumerate() {
            for (says, n) in says {
                if !known.contains_key(says) {
                    let codes = unpack::<App>(&report(says)?.installation().context("an app")?.codes);
                    let labels = families.iter().zip(codes.as_ref()).map(|((family, path), code)| {
                        (*family, path(*code).labels().pop().unwrap_or_default())
                    });
                    let labels: Vec<_> = labels.collect();
                    known.insert(says.clone(), (tally.said(codes), labels));
                }
                let (said, labels) = &known[says];
                for (family, label) in labels {
                    *day_truth.entry(*family).or_default().entry(label.clone()).or_default() += u64::from(*n);
                }
                (0..*n).for_each(|_| tally.add(pod as i64, *said));
                number += u64::from(*n);
            }
        }
        Ok(Self { tally, truth: day_truth, number })
    }

    fn release(&self, noise: &Noise, threshold: Threshold) -> Published {
        let families = self.tally.publish(Population::Pod, &threshold, Some(noise)).into_iter();
        let numbers = families.map(|(family, blocks)| {
            (family, blocks.iter().map(|block| (block.label().to_owned(), block.published())).collect())
        });
        numbers.collect()
    }
}

type Published = BTreeMap<FamilyId, BTreeMap<String, u64>>;

type PathOf = fn(u64) -> shared::data_point::Path;

fn of_point(family: FamilyId) -> Option<(FamilyId, PathOf)> {
    Some((family, family.point()?.path))
}

fn report((version, platform, locale): &Says) -> anyhow::Result<ValidReport> {
    let app = match platform.split('-').next() {
        Some("android") => "prose-app-android",
        Some("ios" | "ipados") => "prose-app-ios",
        _ => "prose-app-web",
    };
    let mut says = json!({ "name": app, "platform": platform });
    if !version.is_empty() {
        says["version"] = version.as_str().into();
    }
    if locale != "Unknown" {
        says["user_preferred_locales"] = json!([locale]);
    }
    let event = json!({ "name": "app:daily", "proxied": true, "origin": {
        "app": says, "pod": { "domain_hash": "0123456789abcdef", "user_hash": "0123456789abcdef" } } });
    ValidReport::from_json(event.to_string().as_bytes()).map_err(|_| anyhow::anyhow!("{event}"))
}

const FAMILIES: [&str; 3] = ["app_versions", "platforms", "languages"];

/// How much a release shows of each family.
#[derive(Default)]
struct Shown {
    releases: usize,
    /// The part of installations under their own value, summed.
    own: [f64; 3],
    /// Errors of shares in points, summed, and how many.
    error: (f64, usize),
    /// Releases in which more than half of a family is in `other`.
    half_folded: usize,
    /// Releases in which iOS, then Android, are visible in apps, then platforms.
    visible: [usize; 4],
}

impl Shown {
    fn add(&mut self, day: &Day, published: &Published) {
        let none = BTreeMap::new();
        self.releases += 1;
        let mut is_half_folded = false;
        for (n, name) in FAMILIES.into_iter().enumerate() {
            let Some(family) = FamilyId::parse(name) else { continue };
            let (truth, numbers) = (&day.truth[&family], published.get(&family).unwrap_or(&none));
            let total: u64 = numbers.values().sum();
            for (label, number) in numbers {
                let Some(truly) = truth.get(label) else { continue };
                let [truly, share] =
                    [(*truly, day.number), (*number, total)].map(|(n, of)| n as f64 / of as f64);
                self.own[n] += truly;
                self.error.0 += 100.0 * (share - truly).abs();
                self.error.1 += 1;
            }
            is_half_folded |= numbers.get("other").is_some_and(|other| other * 2 > total);
            for (at, start) in [["prose-app-ios", "prose-app-android"], ["ios", "android"], ["-", "-"]][n]
                .into_iter()
                .enumerate()
                .filter(|_| n < 2)
            {
                self.visible[n * 2 + at] += usize::from(numbers.keys().any(|label| label.starts_with(start)));
            }
        }
        self.half_folded += usize::from(is_half_folded);
    }

    fn own(&self) -> String {
        let own = self.own.map(|own| format!("{:.1}", 100.0 * own / self.releases as f64));
        own.join(" / ")
    }

    fn error(&self) -> f64 {
        self.error.0 / self.error.1.max(1) as f64
    }
}

struct Measured {
    shares: Shares,
    keys: Keys,
}

#[expect(clippy::disallowed_methods, reason = "shows what noise costs")]
fn exactly() -> Threshold {
    Threshold::default().exact()
}

impl Measured {
    /// The real series.
    fn series(&mut self, folder: &Path, every: usize) -> anyhow::Result<()> {
        let days = std::fs::read_to_string(folder.join("days.txt"))?;
        let days = days.lines().map(str::parse).collect::<Result<Vec<Date>, _>>()?;
        let runs = lines(folder, "lemmy-servers-runs.csv")?;
        let (mut shown, mut exact) = (Shown::default(), Shown::default());
        let (mut come_or_go, mut most, mut under_the_floor) = (0, 0, 0);
        let mut installations: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for (n, day) in days.iter().enumerate().step_by(every) {
            let mut pods = Vec::new();
            for run in &runs {
                if !(number(run, 1)? as usize..=number(run, 2)? as usize).contains(&n) {
                    continue;
                }
                let (users, version) = (number(run, 4)? as usize, &run[3]);
                let mine = installations.entry(run[0].clone()).or_default();
                while mine.len() < users {
                    let seed = run[0].parse::<u64>()? << 20 | mine.len() as u64;
                    let random = &mut StdRng::seed_from_u64(seed);
                    let platform = choose(random, &self.shares.platforms).to_owned();
                    mine.push((platform, choose(random, &self.shares.locales).to_owned()));
                }
                let mut says = BTreeMap::new();
                for (platform, locale) in &mine[..users] {
                    *says.entry((version.clone(), platform.clone(), locale.clone())).or_default() += 1;
                }
                pods.push(says);
            }
            let population = Day::of(&pods)?;
            let noise = self.keys.noise(*day)?;
            let published = population.release(&noise, Threshold::default());
            shown.add(&population, &published);
            exact.add(&population, &population.release(&noise, exactly()));
            under_the_floor += published.values().flat_map(BTreeMap::values).filter(|n| **n < 20).count();
            // The same population on another day of the month.
            let other = Window::of_day(WindowKind::Month, *day).start();
            let other = if other == *day { other.tomorrow()? } else { other };
            let again = population.release(&self.keys.noise(other)?, Threshold::default());
            let labels = |published: &Published| -> BTreeSet<(FamilyId, String)> {
                let of = |(family, numbers): (&FamilyId, &BTreeMap<String, u64>)| {
                    numbers.keys().map(|label| (*family, label.clone())).collect::<Vec<_>>()
                };
                published.iter().flat_map(of).collect()
            };
            let changed = labels(&published).symmetric_difference(&labels(&again)).count();
            come_or_go += changed;
            most = most.max(changed);
        }
        let Shown { releases, half_folded, visible, .. } = shown;
        say(&format!(
            "| {releases} real days | with noise | compared exactly |\n| --- | --- | --- |\n\
             | under their own value, apps / platforms / languages, % | {} | {} |\n\
             | days on which iOS / Android are visible in apps, then in platforms | {} / {}, {} / {} | {:?} |\n\
             | days with more than half of a family in `other` | {half_folded} | {} |\n\
             | mean error of shares, points | {:.4} | {:.4} |\n\
             | labels that come or go at an unchanged mix, mean and most | {:.2}, {most} | 0, 0 |\n\
             | numbers below 20 | {under_the_floor} | |\n",
            shown.own(),
            exact.own(),
            visible[0],
            visible[1],
            visible[2],
            visible[3],
            exact.visible,
            exact.half_folded,
            shown.error(),
            exact.error(),
            come_or_go as f64 / releases as f64,
        ));
        Ok(())
    }

    /// Random fleets: Pods of very different sizes, each with a version of its own and a language that half of
    /// its installations have.
    fn fleets(&mut self) -> anyhow::Result<()> {
        const VERSIONS: [(&str, f64); 7] = [
            ("1.2.0", 50.0),
            ("1.2.1", 22.0),
            ("1.1.0", 12.0),
            ("1.1.3", 7.0),
            ("1.0.2", 5.0),
            ("1.3.0-rc.1", 1.0),
            ("0.9.1", 3.0),
        ];
        let versions = VERSIONS.map(|(version, weight)| (version.to_owned(), weight));
        say("| Pods | with noise, apps / platforms / languages, % | error | compared exactly | error |");
        say("| --- | --- | --- | --- | --- |");
        for (pods, fleets) in [(30, 60_u64), (100, 40), (300, 20), (1_000, 10)] {
            let (mut shown, mut exact) = (Shown::default(), Shown::default());
            for fleet in 0..fleets {
                let random = &mut StdRng::seed_from_u64(pods << 32 | fleet);
                let mut all = Vec::new();
                for _ in 0..pods {
                    let size = (2.0 / random.random_range(0.002..1.0_f64).powf(1.1)) as u32;
                    let home = choose(random, &self.shares.locales).to_owned();
                    let of_pod = choose(random, &versions).to_owned();
                    let mut says: BTreeMap<Says, u32> = BTreeMap::new();
                    for _ in 0..size {
                        let platform = choose(random, &self.shares.platforms).to_owned();
                        let is_home = random.random_bool(0.5);
                        let drawn = choose(random, &self.shares.locales).to_owned();
                        let locale = if is_home { home.clone() } else { drawn };
                        let own = choose(random, &versions).to_owned();
                        let is_web = !["ios", "ipados", "android"]
                            .iter()
                            .any(|family| platform.split('-').next() == Some(family));
                        let version = if is_web { of_pod.clone() } else { own };
                        *says.entry((version, platform, locale)).or_default() += 1;
                    }
                    all.push(says);
                }
                let day = Day::of(&all)?;
                for round in 0..4 {
                    let date = Date::constant(2100, 1, 1)
                        .saturating_add(jiff::Span::new().days((fleet * 4 + round) as i64 * 31));
                    let noise = self.keys.noise(date)?;
                    shown.add(&day, &day.release(&noise, Threshold::default()));
                    exact.add(&day, &day.release(&noise, exactly()));
                }
            }
            let (with_noise, without) = (shown.own(), exact.own());
            say(&format!(
                "| {pods} | {with_noise} | {:.3} | {without} | {:.3} |",
                shown.error(),
                exact.error()
            ));
        }
        Ok(())
    }
}

fn say(line: &str) {
    // A closed output means that nobody reads it any more.
    let _ = writeln!(stdout(), "{line}");
}
