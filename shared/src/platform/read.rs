//! Text → a [`Platform`].

use super::{Architecture, Family, Platform};

/// What families are called: by themselves, by `navigator.platform`, by Node.js, by Go and by compilers.
const FAMILIES: &[(Family, &[&str])] = &[
    (Family::Web, &["web", "browser", "wasm", "wasm32"]),
    (
        Family::MacOs,
        &["macos", "mac", "macosx", "osx", "darwin", "macintosh", "macintel", "macppc", "macabi"],
    ),
    (Family::Windows, &["windows", "win", "win32", "win64", "windowsnt", "cygwin", "mingw", "msys"]),
    (Family::Linux, &["linux", "gnulinux", "ubuntu", "debian", "fedora", "alpine"]),
    (Family::Ios, &["ios", "iphone", "iphoneos", "ipod"]),
    (Family::IpadOs, &["ipados", "ipad"]),
    (Family::Android, &["android", "androideabi"]),
    (Family::FreeBsd, &["freebsd"]),
    (Family::OpenBsd, &["openbsd"]),
    (Family::NetBsd, &["netbsd"]),
    (Family::ChromeOs, &["chromeos", "cros", "chromiumos"]),
    (Family::WatchOs, &["watchos"]),
    (Family::TvOs, &["tvos"]),
    (Family::VisionOs, &["visionos", "xros"]),
];

/// What architectures are called. `x86_64` has become one word before it is looked for here.
const ARCHITECTURES: &[(Architecture, &[&str])] = &[
    (Architecture::X86, &["x86", "i386", "i486", "i586", "i686", "ia32"]),
    (Architecture::X86_64, &["x8664", "amd64", "x64"]),
    (
        Architecture::Arm,
        &["arm", "armv6", "armv6l", "armv7", "armv7a", "armv7l", "armv8l", "armhf", "armeabi", "armel"],
    ),
    (Architecture::Aarch64, &["aarch64", "arm64", "arm64e", "armv8"]),
    (Architecture::Riscv64, &["riscv64", "riscv64gc"]),
    (Architecture::Loongarch64, &["loongarch64", "loong64"]),
    (Architecture::Ppc64, &["ppc64", "ppc64le", "powerpc64", "powerpc64le"]),
    (Architecture::S390x, &["s390x"]),
];

/// The longest text that may name a platform, in bytes.
const MAX_LEN: usize = 64;

fn find<T: Copy>(known: &[(T, &[&str])], word: &str) -> Option<T> {
    known.iter().find(|(_, names)| names.contains(&word)).map(|(value, _)| *value)
}

/// The normal form of `text`, and whether it says nothing besides (`*` is nothing).
pub(super) fn platform(text: &str) -> Option<(Platform, bool)> {
    if text.len() > MAX_LEN {
        return None;
    }
    // Nearly all are written as we write them.
    let (family, rest) = text.split_once('-').unwrap_or((text, ""));
    if let Some(family) = Family::ALL.into_iter().find(|known| known.as_str() == family) {
        let architecture = Architecture::ALL.into_iter().find(|known| known.as_str() == rest);
        if rest.is_empty() || architecture.is_some() {
            return Some((Platform { family, architecture }, true));
        }
    }
    let text = text.to_ascii_lowercase().replace("x86_64", "x8664").replace("x86-64", "x8664");
    let words: Vec<&str> = text.split(['-', '_', ' ', '/']).filter(|word| !word.is_empty()).collect();
    let (first, rest) = words.split_first()?;
    let named = |words: &[&str]| words.iter().find_map(|word| find(FAMILIES, word));
    let architecture = words.iter().find_map(|word| find(ARCHITECTURES, word));
    let (family, rest) = match rest.split_first() {
        // A name of two words, such as `Chrome OS`.
        Some((second, rest)) if let Some(family) = find(FAMILIES, &format!("{first}{second}")) => {
            (family, rest)
        }
        _ => match find(FAMILIES, first) {
            Some(family) => (family, rest),
            // The target of a compiler begins with the architecture.
            None => (find(ARCHITECTURES, first).and_then(|_| named(rest))?, rest),
        },
    };
    // The last word of a target is the most precise.
    let family = match named(&rest.iter().rev().copied().collect::<Vec<_>>()) {
        Some(Family::Android) if family == Family::Linux => Family::Android,
        Some(Family::MacOs) if family == Family::Ios => Family::MacOs,
        _ => family,
    };
    let architecture = architecture.or_else(|| (*first == "win64").then_some(Architecture::X86_64));
    let silent =
        |word: &&str| find(ARCHITECTURES, word).is_some() || find(FAMILIES, word).is_some() || *word == "*";
    Some((Platform { family, architecture }, rest.iter().all(silent)))
}
