//! What installations may be and report, with plausible shares: each text of the wire beside its meaning.
//!
//! The meanings are written by hand, so that the ground truth does not depend on the code that reads the
//! wire.

use shared::app::AppName;
use shared::event::Observed::{self, Recognised, Unrecognised};
use shared::locale::Locale;
use shared::platform::Platform;
use shared::version::Version;

/// A text of the wire, and its normal form; `None` if it must not be recognised.
type Wire = (&'static str, Option<&'static str>);

const fn as_is(text: &'static str) -> Wire {
    (text, Some(text))
}

/// Releases in order, each with the day of the play on which it comes out (below zero: before the play).
pub(super) type Releases = &'static [(i32, &'static str)];

/// The versions of Pods.
pub(super) const POD_RELEASES: Releases = &[
    (-500, "0.2.4"),
    (-380, "0.3.0"),
    (-330, "0.3.1"),
    (-240, "0.3.2"),
    (-150, "0.4.0"),
    (-90, "0.4.1"),
    (-40, "0.4.2"),
    (-12, "0.5.0-rc.1"),
    (-5, "0.5.0-rc.2"),
    (3, "0.5.0"),
    (31, "0.5.1"),
    (52, "0.6.0-beta.1"),
    (66, "0.6.0"),
];

/// An app: its name, its releases, its platforms.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) means: Observed<AppName>,
    pub(super) releases: Releases,
    pub(super) platforms: &'static [(u32, Wire)],
}

/// The apps, and how many installations in ten thousand use each.
pub(super) const APPS: &[(u32, App)] = &[
    (
        5_600,
        App { name: "prose-app-web", means: Recognised(AppName::Web), releases: WEB, platforms: BROWSERS },
    ),
    (
        1_500,
        App { name: "prose-app-macos", means: Recognised(AppName::MacOs), releases: NATIVE, platforms: MACS },
    ),
    (
        1_000,
        App { name: "prose-app-ios", means: Recognised(AppName::Ios), releases: MOBILE, platforms: IPHONES },
    ),
    (
        950,
        App {
            name: "prose-app-android",
            means: Recognised(AppName::Android),
            releases: MOBILE,
            platforms: PHONES,
        },
    ),
    (
        550,
        App {
            name: "prose-app-windows",
            means: Recognised(AppName::Windows),
            releases: NATIVE,
            platforms: PCS,
        },
    ),
    (
        220,
        App {
            name: "prose-app-linux",
            means: Recognised(AppName::Linux),
            releases: NATIVE,
            platforms: PENGUINS,
        },
    ),
    (
        140,
        App {
            name: "prose-app-desktop",
            means: Recognised(AppName::Desktop),
            releases: NATIVE,
            platforms: PCS,
        },
    ),
    // A fork: to us, its name is free text.
    (40, App { name: "acme-chat", means: Unrecognised, releases: NATIVE, platforms: BROWSERS }),
];

const WEB: Releases = &[
    (-200, "0.9.3"),
    (-120, "1.0.0"),
    (-60, "1.0.1"),
    (-20, "1.0.2"),
    (4, "1.1.0"),
    (24, "1.1.1"),
    (45, "1.2.0-rc.1"),
    (50, "1.2.0"),
    (80, "1.2.1"),
];
const NATIVE: Releases =
    &[(-180, "0.8.0"), (-70, "0.9.0"), (-30, "0.9.1"), (6, "1.0.0"), (38, "1.0.1"), (71, "1.1.0")];
const MOBILE: Releases =
    &[(-160, "0.5.0"), (-80, "0.6.0"), (-25, "0.6.1"), (-2, "0.7.0-beta.3"), (9, "0.7.0"), (60, "0.8.0")];

const BROWSERS: &[(u32, Wire)] = &[
    (380, as_is("windows-x86_64")),
    (230, as_is("macos-aarch64")),
    (60, as_is("macos-x86_64")),
    (110, as_is("linux-x86_64")),
    (12, as_is("linux-aarch64")),
    (120, as_is("web")),
    (30, as_is("android-aarch64")),
    (20, as_is("ipados-aarch64")),
    (20, as_is("windows-aarch64")),
    (4, as_is("freebsd-x86_64")),
    (1, as_is("openbsd-x86_64")),
    (1, as_is("linux-riscv64")),
    (4, ("windows-toaster", Some("windows"))),
    (4, ("plan9-x86_64", None)),
    (4, ("MacIntel", None)),
];
const MACS: &[(u32, Wire)] = &[(85, as_is("macos-aarch64")), (15, as_is("macos-x86_64"))];
const IPHONES: &[(u32, Wire)] = &[(80, as_is("ios-aarch64")), (20, as_is("ipados-aarch64"))];
const PHONES: &[(u32, Wire)] =
    &[(92, as_is("android-aarch64")), (6, as_is("android-arm")), (2, as_is("android"))];
const PCS: &[(u32, Wire)] =
    &[(88, as_is("windows-x86_64")), (8, as_is("windows-aarch64")), (4, as_is("windows-x86"))];
const PENGUINS: &[(u32, Wire)] =
    &[(85, as_is("linux-x86_64")), (12, as_is("linux-aarch64")), (3, as_is("linux-riscv64"))];

/// Where companies are, and the usual locale there.
pub(super) const HOMES: &[(u32, Wire)] = &[
    (240, as_is("fr-FR")),
    (210, as_is("de-DE")),
    (180, as_is("en-US")),
    (90, as_is("en-GB")),
    (60, as_is("pt-BR")),
    (50, as_is("es-ES")),
    (40, as_is("it-IT")),
    (35, as_is("nl-NL")),
    (30, as_is("de-CH")),
    (20, as_is("de-AT")),
    (20, as_is("pl-PL")),
    (15, as_is("ja-JP")),
    (10, as_is("sv-SE")),
];

/// The locales of those who do not use their company's.
pub(super) const LOCALES: &[(u32, Wire)] = &[
    (280, as_is("en-US")),
    (120, as_is("en-GB")),
    (90, as_is("fr-FR")),
    (80, as_is("de-DE")),
    (50, as_is("en")),
    (40, as_is("es-419")),
    (40, as_is("pt-PT")),
    (35, as_is("fr-CA")),
    (30, ("zh-Hans-CN", Some("zh-CN"))),
    (15, ("zh-Hant-TW", Some("zh-TW"))),
    (25, as_is("uk-UA")),
    (25, as_is("tr-TR")),
    (20, as_is("cs-CZ")),
    (20, ("de_DE", Some("de-DE"))),
    (12, ("en-US-u-ca-buddhist", Some("en-US"))),
    (10, ("de-Latn-DE-1996", Some("de-DE"))),
    (8, as_is("gsw-CH")),
    (4, as_is("br-FR")),
    (3, as_is("rm-CH")),
    (2, as_is("fo-FO")),
    (1, ("tlh", None)),
    (10, ("C", None)),
    (4, ("my own language", None)),
];

/// The meaning of a locale of the wire.
pub(super) fn locale((_, meaning): Wire) -> Observed<Locale> {
    meaning.map(|text| Locale::parse(text).expect("the catalogue has normal forms")).into()
}

/// The meaning of a platform of the wire.
pub(super) fn platform((_, meaning): Wire) -> Observed<Platform> {
    meaning.map(|text| Platform::parse(text).expect("the catalogue has normal forms")).into()
}

/// The meaning of a version of the catalogue.
pub(super) fn version(text: &str) -> Version {
    Version::parse(text).expect("the catalogue has normal forms")
}

/// The version on `day` of an installation that takes a release `lag` days after it came out, with or without
/// pre-releases. Before its first release, it runs the first one.
pub(super) fn running(releases: Releases, day: i32, lag: i32, pre_releases: bool) -> &'static str {
    releases
        .iter()
        .rev()
        .find(|(out, text)| out + lag <= day && (pre_releases || !text.contains('-')))
        .map_or(releases[0].1, |(_, text)| text)
}

pub(super) const FIRST_NAMES: &[&str] = &[
    "ada", "bruno", "chiara", "dieter", "elif", "fatou", "goran", "hanna", "ines", "jonas", "kenji", "lea",
    "marta", "noor", "olga", "paulo", "quentin", "rosa", "sven", "tomas", "uma", "valerian", "wiebke",
    "yara", "zoe",
];
pub(super) const COLOURS: &[&str] = &[
    "amber", "azure", "coral", "crimson", "indigo", "ivory", "jade", "ochre", "olive", "teal", "umber",
    "violet",
];
pub(super) const TRADES: &[&str] = &[
    "atelier",
    "bakery",
    "bikes",
    "books",
    "brewery",
    "clinic",
    "coop",
    "design",
    "farm",
    "foundry",
    "kita",
    "labs",
    "law",
    "logistics",
    "press",
    "school",
    "studio",
    "timber",
    "travel",
    "works",
];
