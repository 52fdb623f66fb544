//! `usage.user_theme`: whether an app is light or dark. No app sends it; it shows how a data point is added.

use super::{Counted, DataPoint, Declaration, Family, Options, Path, Shape, Unfit};
use crate::code::{Coded, at, position};
use crate::event::{App, Observed};
use crate::wire::{UNRECOGNISED, observed_on_the_wire};

/// The theme of an installation.
#[derive(Debug)]
pub enum UserTheme {}

/// What an app looks like. The order is the canonical order of a merge; append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Theme {
    Light,
    Dark,
    System,
}

impl Theme {
    const ALL: [Self; 3] = [Self::Light, Self::Dark, Self::System];
    pub(crate) const UNRECOGNISED: &'static str = UNRECOGNISED;

    fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::System => "system",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }

    fn reader_label(label: &str) -> Option<String> {
        let name = match Self::parse(label)? {
            Self::Light => "Light",
            Self::Dark => "Dark",
            Self::System => "As the system",
        };
        Some(name.to_owned())
    }
}

impl std::fmt::Display for Theme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Coded for Theme {
    const MAX: u64 = Self::ALL.len() as u64 - 1;

    fn to_code(self) -> u64 {
        position(&Self::ALL, &self)
    }

    fn from_code(code: u64) -> Option<Self> {
        at(&Self::ALL, code)
    }
}

observed_on_the_wire!(
    Theme,
    "Theme",
    "What the app looks like. Other words count as unrecognised.",
    "^(light|dark|system|unrecognised)$",
    "dark"
);

impl DataPoint for UserTheme {
    type In = App;

    const DECLARATION: Declaration = Declaration {
        key: "usage.user_theme",
        identifies: false,
        fields: &["origin.app.theme"],
        normal_form: "`light`, `dark` or `system`; else `unrecognised`",
        question: "Does anybody use the dark theme?",
        since: "0.1.0",
        options: &[],
        on_in: &[],
        family: Some(Family {
            name: "themes",
            title: "Themes",
            value: "Theme",
            shape: Shape::Distribution { guide: None },
            examples: &["light", "dark", "dark", "system"],
            reader_label: Theme::reader_label,
        }),
    };

    fn share(_: Options<'_>, from: &App, to: &mut App) {
        to.theme = from.theme;
    }
}

impl Counted for UserTheme {
    type Value = Option<Observed<Theme>>;

    fn value(said: &App) -> Result<Self::Value, Unfit> {
        Ok(said.theme)
    }

    fn path(value: Self::Value) -> Path {
        Path::observed(value, |theme| Path::of([theme.as_str()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_themes_are_in_their_order() {
        let codes = Theme::ALL.map(Theme::to_code);
        assert!(Theme::ALL.is_sorted() && codes.is_sorted());
        assert_eq!(codes.map(Theme::from_code), Theme::ALL.map(Some));
    }
}
