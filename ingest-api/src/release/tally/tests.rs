//! Random populations of real apps, platforms and languages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use shared::app::AppName;
use shared::code::Coded;
use shared::data_point::AppVersion;
use shared::event::{App, Observed, Pod};
use shared::locale::Locale;
use shared::platform::Platform;
use shared::size::SizeBin;
use shared::version::Version;

use super::*;
use crate::release::random::Random;
use crate::window::{Window, WindowKey, WindowKind};

/// The installations of a random population. Some values are not reported.
fn installations(seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::of::<App>();
    for pod in 0..random.pods() as i64 {
        // Most installations of a Pod are alike.
        let groups = 1 + random.any(4) as u32;
        let size = random.pod_size();
        for group in 0..groups {
            let n = size / groups + u32::from(group < size % groups);
            let said = said(&mut random);
            for _ in 0..n {
                let said = tally.said(said);
                tally.add(pod, said);
            }
        }
    }
    tally
}

/// The codes of an installation, in the order of the registry.
fn codes(
    app: AppVersion,
    platform: Option<Observed<Platform>>,
    language: Option<Observed<Locale>>,
) -> [u64; 3] {
    [app.to_code(), platform.to_code(), language.to_code()]
}

fn said(random: &mut Random) -> [u64; 3] {
    const APPS: [AppName; 6] =
        [AppName::Web, AppName::MacOs, AppName::Ios, AppName::Android, AppName::Windows, AppName::Desktop];
    // Parsed once: there are a million lookups, and parsing would take a fifth of the test's time.
    static ANYWHERE: LazyLock<[Platform; 7]> = LazyLock::new(|| {
        ["windows-x86_64", "macos-aarch64", "macos-x86_64", "linux-x86_64", "ios", "android", "ipados"]
            .map(|text| Platform::parse(text).unwrap())
    });
    static VERSIONS: LazyLock<[Version; 5]> = LazyLock::new(|| {
        ["1.0.1", "1.0.0", "0.9.3", "1.1.0", "0.9.0"].map(|text| Version::parse(text).unwrap())
    });
    static LANGUAGES: LazyLock<[Locale; 6]> = LazyLock::new(|| {
        ["en", "de-DE", "fr", "de-CH", "pt-BR", "eo"].map(|text| Locale::parse(text).unwrap())
    });
    let app = APPS[random.value(APPS.len(), 3)];
    let version = VERSIONS[random.value(VERSIONS.len(), 3)];
    let platform = ANYWHERE[random.value(ANYWHERE.len(), 3)];
    let told = |random: &mut Random| !random.once_in(15);
    let language = LANGUAGES[random.value(LANGUAGES.len(), 3)];
    let app = told(random).then_some(Observed::Recognised(app));
    let version = app.map(|_| Observed::Recognised(version));
    let platform = told(random).then_some(Observed::Recognised(platform));
    codes(AppVersion { app, version }, platform, told(random).then_some(Observed::Recognised(language)))
}

fn pods(seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let mut tally = Tally::of::<Pod>();
    for pod in 0..random.pods() as i64 {
        let version = ["0.4.1", "0.4.0", "0.3.2", "0.5.0-rc.1"][random.value(4, 3)];
        let size = SizeBin::of(random.pod_size());
        let told = (!random.once_in(9), !random.once_in(9));
        let version = told.0.then(|| Observed::Recognised(Version::parse(version).unwrap()));
        let said = tally.said([version.to_code(), told.1.then_some(size).to_code()]);
        tally.add(pod, said);
    }
    tally
}

fn tally(seed: u64) -> Tally {
    if seed.is_multiple_of(4) { pods(seed) } else { installations(seed) }
}

/// The noise of some day, which the seed decides.
fn noise(seed: u64) -> Noise {
    let key = |n: u8| {
        let mut bytes = [n; WindowKey::LEN];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Some(WindowKey::new(&bytes))
    };
    let window = Window::of_day(WindowKind::Day, "2026-11-22".parse().unwrap());
    Noise::of(window, key(1), key(2)).unwrap()
}

fn publish(tally: &Tally, seed: u64) -> Vec<(FamilyId, Vec<Block>)> {
    tally.publish(Population::Pod, &Threshold::default(), Some(&noise(seed)))
}

/// Nobody is in two blocks, every block is safe, and what is in none is hidden by noise.
#[test]
fn families_hold_everybody_but_what_noise_hides() {
    let threshold = Threshold::default();
    let (mut left_out, mut published_nothing) = (0, 0);
    for seed in 0..300 {
        let tally = tally(seed);
        let published = publish(&tally, seed);
        assert_eq!(published.len(), tally.values.len() + 1);
        let everybody: u64 = tally.counts.iter().map(|count| u64::from(count.reporters)).sum();
        for (family, blocks) in &published {
            assert!(blocks.iter().all(|block| threshold.safe(tally.rule, block.cohort())));
            let held: u64 = blocks.iter().map(|block| block.cohort().size()).sum();
            let labels: BTreeSet<_> = blocks.iter().map(Block::label).collect();
            assert_eq!(labels.len(), blocks.len(), "{family:?} {labels:?}");
            published_nothing += u64::from(blocks.is_empty());
            if !blocks.is_empty() {
                let most = if tally.rule == Rule::Pods { 0 } else { 2 * crate::release::NEGLIGIBLE };
                assert!(everybody - held <= most, "population {seed}, {family:?}: {held} of {everybody}");
                left_out += everybody - held;
            }
        }
    }
    assert!(left_out > 100 && (1..400).contains(&published_nothing), "{left_out}, {published_nothing}");
}

#[test]
fn without_a_key_nothing_is_published_about_installations() {
    for seed in 0..20 {
        let tally = tally(seed);
        let published = tally.publish(Population::Pod, &Threshold::default(), None);
        let is_empty = published.iter().all(|(_, blocks)| blocks.is_empty());
        assert_eq!(is_empty, tally.rule == Rule::Installations || tally.pod_numbers.len() < 5);
    }
}

/// A tally gives the same counts as a plain count, in whatever order reporters arrive and however often a Pod
/// returns.
#[test]
fn a_tally_counts_as_a_plain_count_does() {
    const VERSIONS: [&str; 3] = ["0.4.0", "0.4.1", "0.5.0"];
    for seed in 0..10_000 {
        let mut random = Random::new(seed);
        let mut tally = Tally::of::<Pod>();
        let mut plain = BTreeMap::<(usize, Option<SizeBin>), BTreeMap<i64, u32>>::new();
        for _ in 0..random.any(40) {
            let (pod, n) = (random.any(6) as i64 - 3, random.any(VERSIONS.len()));
            let size = [None, Some(SizeBin::of(1)), Some(SizeBin::of(30))][random.any(3)];
            let version = Some(Observed::Recognised(Version::parse(VERSIONS[n]).unwrap()));
            let said = tally.said([version.to_code(), size.to_code()]);
            tally.add(pod, said);
            *plain.entry((n, size)).or_default().entry(pod).or_default() += 1;
        }
        let cohorts = tally.cohorts(tally.said.len(), |said| tally.said.iter().position(|each| each == said));
        let pods: BTreeMap<u32, i64> =
            tally.pod_numbers.iter().map(|(pod, number)| (*number, *pod)).collect();
        for (said, cohort) in tally.said.iter().zip(cohorts) {
            let code = |n: usize| tally.values[n].codes[said[n] as usize];
            let version = <Option<Observed<Version>>>::from_code(code(0)).unwrap();
            let size = <Option<SizeBin>>::from_code(code(1)).unwrap();
            let n = VERSIONS
                .iter()
                .position(|text| version == Some(Observed::Recognised(Version::parse(text).unwrap())))
                .unwrap();
            let counted: BTreeMap<i64, u32> = cohort.iter().map(|(pod, n)| (pods[&pod], n)).collect();
            assert_eq!(plain.remove(&(n, size)), Some(counted), "population {seed}");
        }
        assert!(plain.is_empty(), "population {seed}: {plain:?}");
    }
}

#[test]
fn publishing_again_and_in_another_order_gives_the_same() {
    for seed in 0..100 {
        let tally = tally(seed);
        let mut turned = match tally.rule {
            Rule::Pods => Tally::of::<Pod>(),
            Rule::Installations => Tally::of::<App>(),
        };
        for Group { said, pod, reporters } in tally.counts.iter().rev() {
            let codes: Vec<_> = tally.said[*said as usize]
                .iter()
                .zip(&tally.values)
                .map(|(n, values)| values.codes[*n as usize])
                .collect();
            let said = turned.said(&codes);
            // The same Pods, with other numbers.
            (0..*reporters).for_each(|_| turned.add(i64::from(*pod), said));
        }
        let published = |tally: &Tally| -> Vec<(FamilyId, String, u64)> {
            let described = |(family, blocks): (FamilyId, Vec<Block>)| {
                blocks.into_iter().map(move |block| (family, block.label().to_owned(), block.published()))
            };
            publish(tally, seed).into_iter().flat_map(described).collect()
        };
        assert_eq!(published(&tally), published(&turned), "population {seed}");
    }
}

/// Few on rare platforms take no common value with them.
#[test]
fn rare_values_hide_no_common_one() {
    type Some = (AppName, &'static str, usize);
    const COMMON: [Some; 3] = [
        (AppName::Web, "windows-x86_64", 40_000),
        (AppName::Ios, "ios", 4_000),
        (AppName::Android, "android", 1_300),
    ];
    let rare: [&[Some]; 5] = [
        &[],
        &[(AppName::Ios, "ipados", 1)],
        &[(AppName::Ios, "ipados", 13)],
        &[(AppName::Ios, "ipados", 13), (AppName::Web, "linux", 9)],
        &[(AppName::Web, "android", 7)],
    ];
    for rare in rare {
        let mut tally = Tally::of::<App>();
        let mut pods = 0..;
        for (app, platform, n) in COMMON.iter().chain(rare) {
            let version = Some(Observed::Recognised(Version::parse("0.18.4").unwrap()));
            let app = AppVersion { app: Some(Observed::Recognised(*app)), version };
            let platform = Some(Observed::Recognised(Platform::parse(platform).unwrap()));
            let said = tally.said(codes(app, platform, None));
            pods.by_ref().take(*n).for_each(|pod| tally.add(pod % 40, said));
        }
        for seed in 0..20 {
            let published = publish(&tally, seed);
            let has = |label: &str| {
                published.iter().any(|(_, blocks)| blocks.iter().any(|block| block.label() == label))
            };
            for label in ["windows-x86_64", "ios", "android", "prose-app-web 0.18.4"] {
                assert!(has(label), "{label}, with {rare:?}, key {seed}: {published:?}");
            }
            assert!(has("prose-app-ios 0.18.4") && has("prose-app-android 0.18.4"), "with {rare:?}");
        }
    }
}
