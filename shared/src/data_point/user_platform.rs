//! `usage.user_platform`: on which platform an installation runs.

use super::{
    Counted, DataPoint, DataPointOption, Declaration, Family, OptionKind, Options, Path, Shape, Unfit,
};
use crate::event::{App, Observed};
use crate::platform::{Platform, PlatformName};
use crate::preset::Named;

/// The platform of an installation.
#[derive(Debug)]
pub enum UserPlatform {}

impl UserPlatform {
    /// The platforms that are shared.
    pub const ALLOW_LIST: DataPointOption = DataPointOption {
        key: "allow_list",
        kind: OptionKind::Platforms,
        effect: "only these platforms are shared, named in full (`macos-aarch64`) or by family (`macos`)",
        set_by: &[],
    };

    /// The platforms that are not.
    pub const DENY_LIST: DataPointOption = DataPointOption {
        key: "deny_list",
        kind: OptionKind::Platforms,
        effect: "these platforms are never shared; stronger than `allow_list`",
        set_by: &[],
    };
}

impl DataPoint for UserPlatform {
    type In = App;

    const DECLARATION: Declaration = Declaration {
        key: "usage.user_platform",
        identifies: false,
        fields: &["origin.app.platform"],
        normal_form: "a known family, optionally with a known architecture; else `unrecognised`",
        question: "On which platforms is Prose used?",
        since: "0.1.0",
        options: &[Self::ALLOW_LIST, Self::DENY_LIST],
        on_in: &[Named::Gdpr, Named::Lgpd],
        family: Some(Family {
            name: "platforms",
            title: "Platforms",
            value: "Platform",
            shape: Shape::Distribution { guide: None },
            examples: &["web", "macos-aarch64", "android"],
            reader_label: Platform::reader_label,
        }),
    };

    /// The deny list is compared with what the app wrote and with what would leave. The allow list is compared with
    /// what would leave only: `unrecognised` stands for anything, so it must be allowed by that name.
    fn share(options: Options<'_>, from: &App, to: &mut App) {
        let Some(written) = &from.platform else { return };
        let outgoing = PlatformName::from(written.observed());
        let named =
            |list: &[String], platform: &PlatformName| list.iter().any(|entry| platform.is_named_by(entry));
        let denied =
            options.list(&Self::DENY_LIST).is_some_and(|list| named(list, written) || named(list, &outgoing));
        let allowed = options.list(&Self::ALLOW_LIST).is_none_or(|list| named(list, &outgoing));
        to.platform = (allowed && !denied).then_some(outgoing);
    }
}

impl Counted for UserPlatform {
    type Value = Option<Observed<Platform>>;

    fn value(said: &App) -> Result<Self::Value, Unfit> {
        Ok(said.platform.as_ref().map(PlatformName::observed))
    }

    fn path(value: Self::Value) -> Path {
        Path::observed(value, |platform| {
            Path::of([platform.family.as_str().to_owned(), platform.to_string()])
        })
    }
}
