//! A platform as text (`macos-aarch64`, `aarch64-apple-darwin`) → a known family with an optional architecture.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::{Coded, at, position};
use crate::wire::{Observed, UNRECOGNISED, observed_on_the_wire, parse_str};

mod read;

/// A family of operating systems, or the browser. The order is the canonical order of a merge; append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Web,
    MacOs,
    Windows,
    Linux,
    Ios,
    IpadOs,
    Android,
    FreeBsd,
    OpenBsd,
    NetBsd,
    ChromeOs,
    WatchOs,
    TvOs,
    VisionOs,
}

impl Family {
    /// Every family, in canonical order.
    pub const ALL: [Self; 14] = [
        Self::Web,
        Self::MacOs,
        Self::Windows,
        Self::Linux,
        Self::Ios,
        Self::IpadOs,
        Self::Android,
        Self::FreeBsd,
        Self::OpenBsd,
        Self::NetBsd,
        Self::ChromeOs,
        Self::WatchOs,
        Self::TvOs,
        Self::VisionOs,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::MacOs => "macos",
            Self::Windows => "windows",
            Self::Linux => "linux",
            Self::Ios => "ios",
            Self::IpadOs => "ipados",
            Self::Android => "android",
            Self::FreeBsd => "freebsd",
            Self::OpenBsd => "openbsd",
            Self::NetBsd => "netbsd",
            Self::ChromeOs => "chromeos",
            Self::WatchOs => "watchos",
            Self::TvOs => "tvos",
            Self::VisionOs => "visionos",
        }
    }

    /// Its name for readers.
    fn name(self) -> &'static str {
        match self {
            Self::Web => "Browser",
            Self::MacOs => "macOS",
            Self::Windows => "Windows",
            Self::Linux => "Linux",
            Self::Ios => "iOS",
            Self::IpadOs => "iPadOS",
            Self::Android => "Android",
            Self::FreeBsd => "FreeBSD",
            Self::OpenBsd => "OpenBSD",
            Self::NetBsd => "NetBSD",
            Self::ChromeOs => "ChromeOS",
            Self::WatchOs => "watchOS",
            Self::TvOs => "tvOS",
            Self::VisionOs => "visionOS",
        }
    }

    /// The family that it is counted in: iPadOS is iOS on a larger device. Others are counted by themselves.
    pub fn group(self) -> Self {
        if self == Self::IpadOs { Self::Ios } else { self }
    }
}

/// A processor architecture, named as Rust and most build tools name it. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Architecture {
    X86,
    X86_64,
    Arm,
    Aarch64,
    Riscv64,
    Loongarch64,
    Ppc64,
    S390x,
}

impl Architecture {
    /// Every architecture, in canonical order.
    pub const ALL: [Self; 8] = [
        Self::X86,
        Self::X86_64,
        Self::Arm,
        Self::Aarch64,
        Self::Riscv64,
        Self::Loongarch64,
        Self::Ppc64,
        Self::S390x,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
            Self::Arm => "arm",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
            Self::Loongarch64 => "loongarch64",
            Self::Ppc64 => "ppc64",
            Self::S390x => "s390x",
        }
    }
}

/// A platform in its normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// The family.
    pub family: Family,
    /// The architecture, where it was told and is known.
    pub architecture: Option<Architecture>,
}

impl Platform {
    pub(crate) const UNRECOGNISED: &'static str = UNRECOGNISED;

    /// A label as readers know it: `macOS (aarch64)` for `macos-aarch64`.
    pub(crate) fn reader_label(label: &str) -> Option<String> {
        let (family, architecture) = label.split_once('-').map_or((label, None), |(f, a)| (f, Some(a)));
        let name = Family::ALL.into_iter().find(|known| known.as_str() == family)?.name();
        Some(architecture.map_or_else(|| name.to_owned(), |architecture| format!("{name} ({architecture})")))
    }

    /// The group of a label: `ios` for `ios-aarch64` and `ipados-aarch64`.
    pub(crate) fn group_of(label: &str) -> &str {
        let family = crate::data_point::before_first_mark(label);
        Family::ALL
            .into_iter()
            .find(|known| known.as_str() == family)
            .map_or(family, |known| known.group().as_str())
    }

    /// The normal form of `text`: a known family; an architecture that is not known is dropped. Letter case does not matter, and
    /// the names that browsers, Node.js and compilers give a platform are read, too (`MacIntel`, `win32`,
    /// `x86_64-unknown-linux-gnu`).
    pub fn parse(text: &str) -> Option<Self> {
        read::platform(text).map(|(platform, _)| platform)
    }
}

/// The family, then a byte for the architecture.
impl Coded for Platform {
    const MAX: u64 = 0x7fff;

    fn to_code(self) -> u64 {
        let architecture = self.architecture.map_or(0, |known| 1 + position(&Architecture::ALL, &known));
        position(&Family::ALL, &self.family) << 8 | architecture
    }

    fn from_code(code: u64) -> Option<Self> {
        let architecture = match code & 0xff {
            0 => None,
            n => Some(at(&Architecture::ALL, n - 1)?),
        };
        Some(Self { family: at(&Family::ALL, code >> 8)?, architecture })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.family.as_str())?;
        self.architecture.map_or(Ok(()), |arch| write!(f, "-{}", arch.as_str()))
    }
}

observed_on_the_wire!(
    Platform,
    "Platform",
    "The family of the operating system (or `web`), and optionally the architecture; common spellings are read. Other names count as unrecognised, other architectures as not told.",
    "macos-aarch64"
);

/// A platform as the app wrote it, kept only until the operator's lists have been applied.
///
/// The raw text can be compared, but not read, printed or serialised: on its way out it is [`Self::observed`].
#[derive(Clone, PartialEq, Eq)]
pub struct PlatformName(Box<str>);

impl PlatformName {
    /// The longest text that is compared; the rest of a longer one is cut off.
    const MAX_CHARS: usize = 64;

    /// Keeps `text`, bounded.
    pub fn new(text: &str) -> Self {
        let end = text.char_indices().nth(Self::MAX_CHARS).map_or(text.len(), |(end, _)| end);
        Self(text[..end].into())
    }

    /// The normal form.
    pub fn observed(&self) -> Observed<Platform> {
        Platform::parse(&self.0).into()
    }

    /// Whether an operator's list entry names this platform, in full (`macos-aarch64`) or by family (`macos`): as it was written,
    /// or by what both mean (`osx` and `darwin-arm64`). Case and spaces around it do not matter.
    pub fn is_named_by(&self, entry: &str) -> bool {
        let entry = entry.trim();
        let family = self.0.split_once('-').map_or(&*self.0, |(family, _)| family);
        [&*self.0, family].iter().any(|name| name.eq_ignore_ascii_case(entry))
            || self.is_meant_by(entry, |family| family)
    }

    /// Whether it is named by an entry, or belongs to what the entry names: `ios` holds iPadOS, and `*` everything.
    pub fn belongs_to(&self, entry: &str) -> bool {
        self.is_named_by(entry) || entry.trim() == "*" || self.is_meant_by(entry.trim(), Family::group)
    }

    fn is_meant_by(&self, entry: &str, family: fn(Family) -> Family) -> bool {
        // An entry with an architecture that we do not know means no other one.
        let Some((entry, true)) = read::platform(entry) else { return false };
        Platform::parse(&self.0).is_some_and(|platform| {
            (entry.family == platform.family || entry.family == family(platform.family))
                && (entry.architecture.is_none() || entry.architecture == platform.architecture)
        })
    }
}

impl From<Observed<Platform>> for PlatformName {
    fn from(platform: Observed<Platform>) -> Self {
        Self(platform.to_string().into())
    }
}

impl fmt::Debug for PlatformName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for PlatformName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.observed().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PlatformName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_str(deserializer, "a string", |text| Some(Self::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(PlatformName::new(text).observed().to_string(), expected, "{text:?}");
    }

    #[test]
    fn a_platform_is_a_known_family_with_a_known_architecture_or_unrecognised() {
        check("macos-aarch64", "macos-aarch64");
        check("web", "web");
        check("linux-x86_64", "linux-x86_64");
        check("windows-toaster", "windows");
        check("plan9-x86_64", "unrecognised");
        check("my windows laptop", "unrecognised");
        check("x86_64", "unrecognised");
        check("", "unrecognised");
        check(&"x".repeat(10_000), "unrecognised");
    }

    #[test]
    fn platforms_are_read_as_systems_and_tools_name_them() {
        for (written, expected) in [
            ("macOS", "macos"),
            ("iOS", "ios"),
            ("iPadOS", "ipados"),
            ("Web", "web"),
            ("web-chrome", "web"),
            ("ios-arm64", "ios-aarch64"),
            ("darwin", "macos"),
            ("darwin-aarch64", "macos-aarch64"),
            ("darwin_arm64", "macos-aarch64"),
            ("Mac OS X", "macos"),
            ("mac", "macos"),
            ("osx-x64", "macos-x86_64"),
            ("MacIntel", "macos"),
            ("win32", "windows"),
            ("Win32", "windows"),
            ("win64", "windows-x86_64"),
            ("win32-x64", "windows-x86_64"),
            ("Windows_NT", "windows"),
            ("Windows 11", "windows"),
            ("windows-amd64", "windows-x86_64"),
            ("windows/amd64", "windows-x86_64"),
            ("Linux x86_64", "linux-x86_64"),
            ("Linux armv7l", "linux-arm"),
            ("linux-i686", "linux-x86"),
            ("linux-loongarch64", "linux-loongarch64"),
            ("linux-ppc64le", "linux-ppc64"),
            ("android-arm64-v8a", "android-aarch64"),
            ("android-armv7", "android-arm"),
            ("android-armeabi-v7a", "android-arm"),
            ("iPhone", "ios"),
            ("iPad", "ipados"),
            ("iPhone OS", "ios"),
            ("Chrome OS", "chromeos"),
            ("ChromeOS-x86_64", "chromeos-x86_64"),
            ("CrOS", "chromeos"),
            ("watchos", "watchos"),
            ("FreeBSD amd64", "freebsd-x86_64"),
            // Targets of compilers
            ("aarch64-apple-darwin", "macos-aarch64"),
            ("x86_64-pc-windows-msvc", "windows-x86_64"),
            ("x86_64-unknown-linux-gnu", "linux-x86_64"),
            ("aarch64-linux-android", "android-aarch64"),
            ("armv7-linux-androideabi", "android-arm"),
            ("aarch64-apple-ios", "ios-aarch64"),
            ("aarch64-apple-ios-macabi", "macos-aarch64"),
            ("riscv64gc-unknown-linux-gnu", "linux-riscv64"),
            ("wasm32-unknown-unknown", "web"),
        ] {
            check(written, expected);
            check(expected, expected);
        }
    }

    #[test]
    fn a_list_names_a_platform_in_full_or_by_family() {
        let platform = PlatformName::new("macos-aarch64");
        for entry in
            ["macos", "macos-aarch64", "macOS", " macos", "mac", "osx", "darwin", "macos-arm64", "macos-*"]
        {
            assert!(platform.is_named_by(entry), "{entry}");
        }
        for entry in ["macos-x86_64", "macos-toaster", "ios", "", "*"] {
            assert!(!platform.is_named_by(entry), "{entry}");
        }
        assert!(PlatformName::new("secret-x86_64").is_named_by("secret"));
        assert!(PlatformName::new("iOS").is_named_by("ios"));
        assert!(PlatformName::new("linux-x86_64").is_named_by("linux-amd64"));
    }

    #[test]
    fn ipados_belongs_to_ios_and_is_not_named_by_it() {
        let ipad = PlatformName::new("ipados-aarch64");
        assert!(ipad.belongs_to("ios") && ipad.belongs_to("iPad") && !ipad.belongs_to("macos"));
        assert!(!ipad.is_named_by("ios"));
        assert!(ipad.belongs_to("*") && PlatformName::new("plan9").belongs_to("*") && !ipad.is_named_by("*"));
        assert!(!PlatformName::new("ios").belongs_to("ipados"));
        assert_eq!(Platform::group_of("ipados-aarch64"), "ios");
        assert_eq!(Platform::group_of("ipados/several"), "ios");
        assert_eq!(Platform::group_of("macos-aarch64"), "macos");
        assert_eq!(Platform::group_of("other"), "other");
    }

    proptest::proptest! {
        /// What is left is of the lists, and is read again as itself.
        #[test]
        fn nothing_of_a_free_text_is_left(
            text in "(mac|win|linux|ios|chrome|web|aarch64|\\PC{0,6})([-_ /](os|x86_64|arm64|apple|darwin|android|\\PC{0,6})){0,4}",
        ) {
            if let Some(platform) = Platform::parse(&text) {
                proptest::prop_assert_eq!(Platform::parse(&platform.to_string()), Some(platform));
                proptest::prop_assert_eq!(Platform::from_code(platform.to_code()), Some(platform));
            }
        }
    }
}
