//! `usage.user_platform`: on which platform an installation runs.

use super::{
    Counted, DataPoint, DataPointOption, Declaration, FamilyDeclaration, OptionKind, Options, Path, Shape,
    Unfit,
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
        effect: "these platforms are never shared; `ios` holds iPadOS, and `*` everything; stronger than `allow_list`",
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
        family: Some(FamilyDeclaration {
            name: "platforms",
            title: "Platforms",
            value: "Platform",
            shape: Shape::Distribution { guide: None },
            examples: &["web", "macos-aarch64", "android"],
            reader_label: Platform::reader_label,
            group_of: Platform::group_of,
        }),
    };

    /// The deny list is compared with what the app wrote and with what would leave; an entry for a group of families (`ios`)
    /// holds all of them. The allow list is compared with what would leave only, and each family must be allowed by its
    /// own name: `unrecognised` stands for anything.
    fn share(options: Options<'_>, from: &App, to: &mut App) {
        let Some(written) = &from.platform else { return };
        let outgoing = PlatformName::from(written.observed());
        let denied = options.list(&Self::DENY_LIST).is_some_and(|list| {
            list.iter().any(|entry| written.belongs_to(entry) || outgoing.belongs_to(entry))
        });
        let allowed = options
            .list(&Self::ALLOW_LIST)
            .is_none_or(|list| list.iter().any(|entry| outgoing.is_named_by(entry)));
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
            let (family, group) = (platform.family, platform.family.group());
            let above = [group].into_iter().chain((family != group).then_some(family));
            Path::of(above.map(|family| family.as_str().to_owned()).chain([platform.to_string()]))
        })
    }
}
