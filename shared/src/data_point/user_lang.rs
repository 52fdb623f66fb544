//! `usage.user_lang`: which languages the user of an installation prefers.

use super::{
    Counted, DataPoint, DataPointOption, Declaration, Family, Guide, OptionKind, Options, Path, Shape, Unfit,
};
use crate::event::{App, Observed};
use crate::locale::{Locale, Locales};
use crate::preset::Named;

/// The preferred locales of an installation. The first one is counted.
#[derive(Debug)]
pub enum UserLang {}

impl UserLang {
    /// How many locales are shared.
    pub const MAX_LOCALES: DataPointOption = DataPointOption {
        key: "max_locales",
        kind: OptionKind::AtLeastOne,
        effect: "how many locales are shared at most, first choice first",
        set_by: &[(Named::Gdpr, 2)],
    };
}

impl DataPoint for UserLang {
    type In = App;

    const DECLARATION: Declaration = Declaration {
        key: "usage.user_lang",
        identifies: false,
        fields: &["origin.app.user_preferred_locales"],
        normal_form: "BCP 47 reduced to a known language and region; else `und`; at most 16",
        question: "Which languages do users prefer?",
        since: "0.1.0",
        options: &[Self::MAX_LOCALES],
        on_in: &[Named::Gdpr, Named::Lgpd],
        family: Some(Family {
            name: "languages",
            title: "Languages",
            value: "Language",
            shape: Shape::Distribution {
                guide: Some(Guide {
                    none: "No language is preferred by ",
                    some: "Preferred by ",
                    note: "Only the first choice of each installation counts. A language is the sum of its regions. Regions that \
                           are too small are part of “everything else” of their language or of all languages, so a language \
                           may be somewhat more common than its number says.",
                }),
            },
            examples: &["en", "de-CH", "pt-BR"],
            reader_label: Locale::reader_label,
        }),
    };

    fn share(options: Options<'_>, from: &App, to: &mut App) {
        let locales = from.user_preferred_locales.as_ref();
        to.user_preferred_locales = locales.map(|locales| {
            options.number(&Self::MAX_LOCALES).map_or_else(|| locales.clone(), |max| locales.truncated(max))
        });
    }
}

impl Counted for UserLang {
    type Value = Option<Observed<Locale>>;

    fn value(said: &App) -> Result<Self::Value, Unfit> {
        Ok(said.user_preferred_locales.as_ref().and_then(Locales::first))
    }

    fn path(value: Self::Value) -> Path {
        Path::observed(value, |locale| Path::of([locale.language().to_owned(), locale.to_string()]))
    }

    /// The greater list, and not only the greater first choice.
    fn merge(kept: &mut App, other: &App) {
        let choices =
            |app: &App| app.user_preferred_locales.as_ref().map(|locales| locales.as_slice().to_vec());
        if choices(other) > choices(kept) {
            kept.user_preferred_locales.clone_from(&other.user_preferred_locales);
        }
    }
}
