//! A platform as text (`macos-aarch64`) → a known family with an optional architecture.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::{Coded, at, position};
use crate::wire::{Observed, UNRECOGNISED, observed_on_the_wire, parse_str};

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
}

impl Family {
    /// Every family, in canonical order.
    pub const ALL: [Self; 10] = [
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
        }
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
}

impl Architecture {
    /// Every architecture, in canonical order.
    pub const ALL: [Self; 5] = [Self::X86, Self::X86_64, Self::Arm, Self::Aarch64, Self::Riscv64];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
            Self::Arm => "arm",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
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

    /// The normal form of `text`: a known family; an architecture that is not known is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (family, rest) = text.split_once('-').unwrap_or((text, ""));
        let family = Family::ALL.into_iter().find(|f| f.as_str() == family)?;
        let architecture = Architecture::ALL.into_iter().find(|a| a.as_str() == rest);
        Some(Self { family, architecture })
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
    "The family of the operating system (or `web`), and optionally the architecture. Other names count as unrecognised, other architectures as not told.",
    "^((web|macos|windows|linux|ios|ipados|android|freebsd|openbsd|netbsd)(-[a-z0-9_]{1,16})?|unrecognised)$",
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

    /// Whether an operator's list entry names this platform: in full (`macos-aarch64`) or by family (`macos`).
    /// Case does not matter.
    pub fn is_named_by(&self, entry: &str) -> bool {
        let family = self.0.split_once('-').map_or(&*self.0, |(family, _)| family);
        [&*self.0, family].iter().any(|name| name.eq_ignore_ascii_case(entry))
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
        check("MacOS", "unrecognised");
        check("", "unrecognised");
        check(&"x".repeat(10_000), "unrecognised");
    }

    #[test]
    fn a_list_names_a_platform_in_full_or_by_family() {
        let platform = PlatformName::new("macos-aarch64");
        assert!(platform.is_named_by("macos"));
        assert!(platform.is_named_by("macos-aarch64"));
        assert!(platform.is_named_by("macOS"));
        assert!(!platform.is_named_by("macos-x86_64"));
        assert!(!platform.is_named_by("mac"));
        assert!(PlatformName::new("secret-x86_64").is_named_by("secret"));
    }
}
