//! The name of an app as text → one of Prose's own apps.

use std::fmt;

use crate::code::{Coded, at, position};
use crate::platform::Family;
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

    /// The families of platforms that the app is built for: it runs on no other, and everybody knows. `None` if it runs
    /// wherever there is a browser.
    ///
    /// What is published about apps and about platforms is checked against this, because the two together tell more
    /// than each alone. A family too many weakens that check; one too few makes it fold more than it needs to.
    pub fn platforms(self) -> Option<&'static [Family]> {
        match self {
            Self::Web => None,
            Self::MacOs => Some(&[Family::MacOs]),
            Self::Windows => Some(&[Family::Windows]),
            Self::Linux => Some(&[Family::Linux]),
            Self::Ios => Some(&[Family::Ios, Family::IpadOs]),
            Self::Android => Some(&[Family::Android]),
            Self::Desktop => Some(&[
                Family::MacOs,
                Family::Windows,
                Family::Linux,
                Family::FreeBsd,
                Family::OpenBsd,
                Family::NetBsd,
            ]),
        }
    }

    /// The app with that name on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|app| app.as_str() == text)
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
    "The name of the app. Others than Prose's own apps count as unrecognised.",
    "^(prose-app-(web|macos|windows|linux|ios|android|desktop)|unrecognised)$",
    "prose-app-web"
);
