//! The name of an app as text → one of Prose's own apps.

use std::fmt;

use crate::code::{Coded, at, position};
use crate::wire::{UNRECOGNISED, observed_on_the_wire};

/// One of Prose's apps. The set is closed: a name that is not in it is free text, and is not kept.
///
/// The order is the canonical order of a merge; append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppName {
    /// The app in the browser, and in the shells that wrap it.
    Web,
    /// The native app for macOS.
    MacOs,
    /// The native app for Windows.
    Windows,
    /// The native app for Linux desktops.
    Linux,
    /// The native app for iPhone and iPad.
    Ios,
    /// The native app for Android.
    Android,
    /// The desktop app that is the same on all systems.
    Desktop,
}

impl AppName {
    /// Every app, in canonical order.
    pub const ALL: [Self; 7] =
        [Self::Web, Self::MacOs, Self::Windows, Self::Linux, Self::Ios, Self::Android, Self::Desktop];
    pub(crate) const UNRECOGNISED: &'static str = UNRECOGNISED;
    /// The longest text that may name an app, in bytes.
    const MAX_LEN: usize = 64;

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "prose-app-web",
            Self::MacOs => "prose-app-macos",
            Self::Windows => "prose-app-windows",
            Self::Linux => "prose-app-linux",
            Self::Ios => "prose-app-ios",
            Self::Android => "prose-app-android",
            Self::Desktop => "prose-app-desktop",
        }
    }

    /// The app with that name on the wire, or with another that names it as clearly: `Prose iOS`, `prose-web`, the names of its
    /// packages and bundles (`@prose-im/prose-app-web`, `org.prose.app-ios`). Letter case does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        // Nearly all are written as we write them.
        let known = |system: &str| match system {
            "web" => Some(Self::Web),
            "macos" | "mac" => Some(Self::MacOs),
            "windows" => Some(Self::Windows),
            "linux" => Some(Self::Linux),
            "ios" => Some(Self::Ios),
            "android" => Some(Self::Android),
            "desktop" => Some(Self::Desktop),
            _ => None,
        };
        if let Some(app) = text.strip_prefix("prose-app-").and_then(known) {
            return Some(app);
        }
        if text.len() > Self::MAX_LEN {
            return None;
        }
        let text = text.trim_ascii().to_ascii_lowercase();
        let text =
            ["@prose-im/", "org."].into_iter().find_map(|scope| text.strip_prefix(scope)).unwrap_or(&text);
        let words: Vec<&str> = text.split(['-', '_', '.', ' ']).collect();
        match words[..] {
            ["prose", "app", system] | ["prose", system] => known(system),
            _ => None,
        }
    }
}

impl Coded for AppName {
    const MAX: u64 = Self::ALL.len() as u64 - 1;

    fn to_code(self) -> u64 {
        position(&Self::ALL, &self)
    }

    fn from_code(code: u64) -> Option<Self> {
        at(&Self::ALL, code)
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

observed_on_the_wire!(
    AppName,
    "AppName",
    "The name of the app: prose-app-web, -macos, -windows, -linux, -ios, -android or -desktop; common spellings are read. Others count as unrecognised.",
    "prose-app-web"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_known_by_each_of_its_names() {
        for app in AppName::ALL {
            assert_eq!(AppName::parse(app.as_str()), Some(app));
        }
        for (written, expected) in [
            ("Prose iOS", AppName::Ios),
            ("prose-web", AppName::Web),
            ("Prose-App-Web", AppName::Web),
            ("@prose-im/prose-app-web", AppName::Web),
            ("org.prose.app-ios", AppName::Ios),
            ("org.prose.app.android", AppName::Android),
            ("Prose macOS", AppName::MacOs),
            ("prose_desktop", AppName::Desktop),
        ] {
            assert_eq!(AppName::parse(written), Some(expected), "{written}");
        }
        for other in [
            "",
            "prose",
            "acme-chat",
            "acme-web",
            "prose-app-web-acme",
            "prose-sdk-js",
            "web",
            "org.acme.web",
        ] {
            assert_eq!(AppName::parse(other), None, "{other}");
        }
    }
}
