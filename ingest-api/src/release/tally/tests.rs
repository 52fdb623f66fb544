//! Random populations of real apps, platforms and languages, and an adversary who compares two families.

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

/// The page that states the figures measured here.
const PAGE: &str = include_str!("../../../PRIVACY.md");

/// The installations of a random population. Apps run where they are built for; some values are not reported.
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
    let platform = loop {
        let platform = ANYWHERE[random.value(ANYWHERE.len(), 3)];
        if app.platforms().is_none_or(|families| families.contains(&platform.family)) {
            break platform;
        }
    };
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

/// Folds each family as if there were no other.
fn each_alone(tally: &Tally, threshold: &Threshold) -> Vec<Vec<Block>> {
    (0..tally.values.len()).map(|n| fold(tally.tree(n), tally.rule, threshold)).collect()
}

/// The adversary: takes blocks of one family and blocks of another. If more reporters are in the first set
/// than in the second, some of them are outside the second. Only safe groups may be found this way. Returns
/// how many unsafe groups it found.
///
/// This is the condition under which a table with given sums exists (Gale and Ryser), so no other way leads
/// to certainty. What everybody knows to be empty is empty: knowledge narrows the description of a group, not
/// the group. The adversary shares no code with folding.
///
/// The rows are a block, a branch, or all but it. The columns are a block or all but it. If `any`, both are
/// any set of blocks.
fn found_out(tally: &Tally, folded: &[Vec<Block>], threshold: &Threshold, any: bool) -> usize {
    let mut found = 0;
    for b in 1..folded.len() {
        for a in 0..b {
            let (rows, columns) = (&folded[a], &folded[b]);
            if rows.is_empty() || columns.len() > 10 || any && rows.len() > 10 {
                continue;
            }
            found += Crossing::new(tally, [a, b], [rows, columns]).found_out(tally.rule, threshold, any);
        }
    }
    found
}

/// Two families, as sets of blocks in bits.
struct Crossing {
    joint: Vec<Vec<Cohort>>,
    sums: [Vec<u64>; 2],
    branches: Vec<u32>,
}

impl Crossing {
    fn new(tally: &Tally, families: [usize; 2], blocks: [&Vec<Block>; 2]) -> Self {
        let place = |n: usize, labels: &[String]| {
            let leaf = labels.last().unwrap();
            blocks[n].iter().position(|block| block.leaves().contains(leaf)).unwrap()
        };
        let mut by_pod = vec![vec![Vec::new(); blocks[1].len()]; blocks[0].len()];
        let labels = |n: usize, number: u32| &tally.values[families[n]].labels[number as usize];
        for Count { said, pod, reporters } in &tally.counts {
            let [a, b] = families.map(|family| tally.said[*said as usize][family]);
            by_pod[place(0, labels(0, a))][place(1, labels(1, b))].push((*pod, *reporters));
        }
        let joint: Vec<Vec<Cohort>> =
            by_pod.into_iter().map(|row| row.into_iter().map(Cohort::new).collect()).collect();
        let mut branches = BTreeMap::<String, u32>::new();
        for labels in &tally.values[families[0]].labels {
            *branches.entry(labels[0].clone()).or_default() |= 1 << place(0, labels);
        }
        let sums = blocks.map(|blocks| blocks.iter().map(|block| block.cohort().size()).collect());
        Self { joint, sums, branches: branches.into_values().collect() }
    }

    fn found_out(&self, rule: Rule, threshold: &Threshold, any: bool) -> usize {
        let bits = |set: u32| (0..32).filter(move |bit| set & (1 << bit) != 0);
        let every = u32::MAX >> (32 - self.joint.len());
        let width = self.sums[1].len();
        let rows: BTreeSet<u32> = if any {
            (1..=every).collect()
        } else {
            let sets = (0..self.joint.len()).map(|row| 1 << row).chain(self.branches.iter().copied());
            sets.flat_map(|set| [set, every & !set]).filter(|set| *set != 0).collect()
        };
        let columns: Vec<u32> = if any {
            (0..1 << width).collect()
        } else {
            let all: u32 = u32::MAX >> (32 - width);
            (0..width)
                .map(|column| all & !(1 << column))
                .chain((0..width).map(|column| 1 << column))
                .collect()
        };
        let mut found = 0;
        for rows in rows {
            for &within in &columns {
                let many: u64 = bits(rows).map(|row| self.sums[0][row]).sum();
                let few: u64 = bits(within).map(|column| self.sums[1][column]).sum();
                if many <= few {
                    continue;
                }
                let outside = |row: usize| {
                    (0..width)
                        .filter(move |column| within & (1 << column) == 0)
                        .map(move |column| (row, column))
                };
                let fields = || bits(rows).flat_map(outside);
                if fields().any(|(row, column)| self.joint[row][column].size() > 0)
                    && !fields().any(|(row, column)| threshold.safe(rule, &self.joint[row][column]))
                {
                    let by_pod = fields().flat_map(|(row, column)| self.joint[row][column].iter()).collect();
                    found += usize::from(!threshold.safe(rule, &Cohort::new(by_pod)));
                }
            }
        }
        found
    }
}

#[test]
fn all_families_hold_the_same_reporters_or_none_has_a_block() {
    let threshold = Threshold::default();
    let mut published_nothing = 0;
    for seed in 0..300 {
        let tally = tally(seed);
        let totals: BTreeSet<u64> = tally
            .publish(&threshold)
            .iter()
            .map(|(_, blocks)| {
                assert!(blocks.iter().all(|block| threshold.safe(tally.rule, block.cohort())));
                blocks.iter().map(|block| block.cohort().size()).sum()
            })
            .collect();
        assert_eq!(totals.len(), 1, "population {seed}: {totals:?}");
        published_nothing += u64::from(totals.contains(&0));
    }
    assert!((1..100).contains(&published_nothing), "{published_nothing}");
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
        for Count { said, pod, reporters } in tally.counts.iter().rev() {
            let codes: Vec<_> = tally.said[*said as usize]
                .iter()
                .zip(&tally.values)
                .map(|(n, values)| values.codes[*n as usize])
                .collect();
            let said = turned.said(&codes);
            // The same Pods, with other numbers.
            (0..*reporters).for_each(|_| turned.add(i64::from(*pod), said));
        }
        let published = |tally: &Tally| -> Vec<(Family, String, BTreeSet<String>, u64)> {
            let described = |(family, blocks): (Family, Vec<Block>)| {
                let describe = move |block: Block| {
                    (family, block.label().to_owned(), block.leaves().clone(), block.cohort().size())
                };
                blocks.into_iter().map(describe)
            };
            tally.publish(&Threshold::default()).into_iter().flat_map(described).collect()
        };
        assert_eq!(published(&tally), published(&turned), "population {seed}");
    }
}

#[test]
fn two_families_together_give_nobody_away() {
    let threshold = Threshold::default();
    let mut alone = 0;
    for seed in 0..300 {
        let tally = tally(seed);
        let published: Vec<_> =
            tally.publish(&threshold).into_iter().skip(1).map(|(_, blocks)| blocks).collect();
        assert_eq!(found_out(&tally, &published, &threshold, false), 0, "population {seed}");
        alone += usize::from(found_out(&tally, &each_alone(&tally, &threshold), &threshold, false) > 0);
    }
    let unions = (0..100).filter(|seed| {
        let tally = tally(*seed);
        let published: Vec<_> =
            tally.publish(&threshold).into_iter().skip(1).map(|(_, blocks)| blocks).collect();
        found_out(&tally, &published, &threshold, true) > 0
    });
    let sentence = format!(
        "In 300 random populations nothing is found afterwards, and in {alone} of them something is found before."
    );
    assert!(PAGE.replace('\n', " ").contains(&sentence), "{sentence}");
    let unions = unions.count();
    let sentence = format!("in {unions} of 100 random populations a group shows that is too small");
    assert!(PAGE.replace("\n ", "").contains(&sentence), "{sentence}");
    assert!(alone > 40, "the adversary must win where families are folded alone, and did {alone} times");
}

/// How often a published number changes when one installation is added. The page states what is measured
/// here.
#[test]
fn one_more_installation_changes_what_is_published_as_often_as_the_page_says() {
    let threshold = Threshold::default();
    let (mut tried, mut total_changed, mut any_changed, mut blocks_changed) = (0u32, 0u32, 0u32, 0u32);
    for seed in 0..300 {
        let before = installations(seed);
        let published = |tally: &Tally| -> Vec<(Family, Vec<(String, u64)>)> {
            let numbers = |block: &Block| (block.label().to_owned(), block.published());
            tally
                .publish(&threshold)
                .iter()
                .map(|(f, blocks)| (*f, blocks.iter().map(numbers).collect()))
                .collect()
        };
        let then = published(&before);
        if then[0].1.is_empty() {
            continue;
        }
        let mut after = before.clone();
        let mut random = Random::new(u64::MAX - seed);
        let Count { pod, .. } = before.counts[random.any(before.counts.len())];
        let said = after.said(said(&mut random));
        let number_of = |(pod, number): (&i64, &u32)| (*number, *pod);
        let pods: BTreeMap<u32, i64> = before.pod_numbers.iter().map(number_of).collect();
        after.add(pods[&pod], said);
        let now = published(&after);
        let labels = |published: &[(Family, Vec<(String, u64)>)]| -> Vec<Vec<String>> {
            published.iter().map(|(_, of)| of.iter().map(|(label, _)| label.clone()).collect()).collect()
        };
        tried += 1;
        total_changed += u32::from(then[0] != now[0]);
        any_changed += u32::from(then != now);
        blocks_changed += u32::from(labels(&then) != labels(&now));
    }
    let percent = |n: u32| (100 * n + tried / 2) / tried;
    let sentence = format!(
        "the total changes in {} %, any number at all in {} %, and which blocks there are in {} %",
        percent(total_changed),
        percent(any_changed),
        percent(blocks_changed),
    );
    println!("{tried} populations: {sentence}");
    assert!(PAGE.replace('\n', " ").contains(&sentence), "{sentence}");
}

/// The population of an attacker who invents Pods that declare no size: as many safe versions and languages
/// as possible. Each Pod has four installations with each value. The combinations differ, so that crossings
/// are small.
fn invented(values: usize) -> Tally {
    let letters: Vec<String> =
        ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}"))).collect();
    let languages: Vec<Locale> = letters
        .iter()
        .filter_map(|language| Locale::parse(language))
        .flat_map(|language| {
            let of = |region: &str| Locale::parse(&format!("{}-{region}", language.language()));
            ["US", "DE", "CH", "FR", "BR", "JP", "IN", "GB", "AT", "MX", "AR", "ES"].map(of)
        })
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .take(values)
        .collect();
    assert_eq!(languages.len(), values, "different languages");
    let mut tally = Tally::of::<App>();
    for (pod, turn, value) in (0..5)
        .flat_map(|pod| (0..4).map(move |turn| (pod, turn)))
        .flat_map(|(pod, turn)| (0..values).map(move |value| (pod, turn, value)))
    {
        let version = Version::parse(&format!("1.{}.{}", value / 9, value % 9)).unwrap();
        let app = AppVersion {
            app: Some(Observed::Recognised(AppName::Web)),
            version: Some(Observed::Recognised(version)),
        };
        let platform = Some(Observed::Recognised(Platform::parse("web").unwrap()));
        let language = languages[(value * 7 + turn * 97 + pod * 389) % values];
        let said = tally.said(codes(app, platform, Some(Observed::Recognised(language))));
        tally.add(pod as i64, said);
    }
    tally
}

/// Counted in steps, because time depends on the machine. A step reads a table of at most [`MOST_BLOCKS`] by
/// [`MOST_BLOCKS`].
#[test]
fn what_a_network_invents_is_audited_within_the_bound() {
    let threshold = Threshold::default();
    for (values, most_steps) in [(1_200, 0), (MOST_BLOCKS, STEPS)] {
        let tally = invented(values);
        let alone: Vec<usize> = each_alone(&tally, &threshold).iter().map(Vec::len).collect();
        assert_eq!(alone, [values, 1, values], "each alone");
        let mut budget = Budget::new(STEPS);
        let start = std::time::Instant::now();
        let published = tally.publish_within(&threshold, &mut budget, &mut BTreeSet::new());
        let blocks: Vec<usize> = published.iter().map(|(_, blocks)| blocks.len()).collect();
        let steps = STEPS - budget.steps();
        println!("{alone:?} → {blocks:?} blocks in {steps} steps, {:?}", start.elapsed());
        assert!(steps <= most_steps, "{steps}");
        assert!(blocks.iter().all(|blocks| (1..=MOST_BLOCKS).contains(blocks)), "{blocks:?}");
        let total = |blocks: &Vec<Block>| blocks.iter().map(|block| block.cohort().size()).sum::<u64>();
        assert!(published.iter().all(|(_, blocks)| total(blocks) == 5 * 4 * values as u64));
    }
}

/// What was not audited is not published. With a smaller and smaller budget, families become one block, and
/// no two of them reveal anybody.
#[test]
fn what_cannot_be_tried_is_folded_to_one_block() {
    let threshold = Threshold::default();
    let (mut folded, mut noted) = (0, 0);
    for seed in 0..60 {
        let tally = tally(seed);
        for steps in [0, 4_000, 8_000] {
            let mut untried = BTreeSet::new();
            let published = tally.publish_within(&threshold, &mut Budget::new(steps), &mut untried);
            let blocks_of = |family| published.iter().find(|(of, _)| *of == family).map(|(_, of)| of.len());
            assert!(untried.iter().all(|family| blocks_of(*family) <= Some(1)), "{untried:?}");
            noted += untried.len();
            let published: Vec<_> = published.into_iter().skip(1).map(|(_, blocks)| blocks).collect();
            assert_eq!(
                found_out(&tally, &published, &threshold, false),
                0,
                "population {seed}, {steps} steps"
            );
            let more_than_one = published.iter().filter(|blocks| blocks.len() > 1).count();
            assert!(steps > 0 || more_than_one <= 1, "population {seed}: nothing was tried");
            folded += usize::from(more_than_one < published.len());
        }
    }
    assert!(folded > 60 && noted > 60, "{folded}, {noted}");
}

/// As many blocks as a large fleet can have: what auditing adds to the cost of a close.
#[test]
fn a_release_with_many_blocks_is_cheap() {
    let mut random = Random::new(1);
    let mut tally = Tally::of::<App>();
    let platforms: Vec<Platform> = ["windows", "macos", "linux", "ios", "android"]
        .iter()
        .flat_map(|family| {
            ["x86_64", "aarch64", "arm"].map(|of| Platform::parse(&format!("{family}-{of}")).unwrap())
        })
        .collect();
    let languages: Vec<Locale> = ["en", "de", "fr", "es", "pt", "it", "nl", "pl", "ja", "ko"]
        .iter()
        .flat_map(|language| ["US", "DE", "CH"].map(|of| Locale::parse(&format!("{language}-{of}")).unwrap()))
        .collect();
    for _ in 0..40_000 {
        let version = format!("1.{}.{}", random.any(10), random.any(5));
        let app = AppVersion {
            app: Some(Observed::Recognised(AppName::Web)),
            version: Some(Observed::Recognised(Version::parse(&version).unwrap())),
        };
        let platform = platforms[random.value(platforms.len(), 2)];
        let language = languages[random.value(languages.len(), 2)];
        let said = codes(app, Some(Observed::Recognised(platform)), Some(Observed::Recognised(language)));
        let (said, pod) = (tally.said(said), random.any(2_000) as i64);
        (0..1 + random.any(3)).for_each(|_| tally.add(pod, said));
    }
    let start = std::time::Instant::now();
    let mut budget = Budget::new(STEPS);
    let published = tally.publish_within(&Threshold::default(), &mut budget, &mut BTreeSet::new());
    let blocks: usize = published.iter().map(|(_, blocks)| blocks.len()).sum();
    let steps = STEPS - budget.steps();
    println!("{blocks} blocks of 80,000 installations in {steps} steps, {:?}", start.elapsed());
    assert!(blocks > 80, "{blocks}");
    assert!(steps < STEPS / 2, "{steps}: what is not invented must not come near the bound");
}
