//! What an operator shares: each data point with its switch and options → which of them are in force.

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// What an operator shares, resolved. Serialised, it mirrors the configuration; an unset option is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The master switch.
    pub enabled: bool,
    /// The name of the chosen preset.
    pub preset: String,
    /// A Pod with fewer enabled accounts sends nothing.
    pub min_cohort_size: Option<u32>,
    /// How Prose is used.
    pub usage: Usage,
    /// Who uses Prose.
    pub acquisition: Acquisition,
}

/// The category `usage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is a data point, described in the registry")]
pub struct Usage {
    /// The switch of the whole category.
    pub enabled: bool,
    pub pod_version: Switch,
    pub user_app_version: Switch,
    pub meta_user_count: Switch,
    pub user_platform: UserPlatform,
    pub user_lang: UserLang,
}

/// The category `acquisition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is a data point, described in the registry")]
pub struct Acquisition {
    /// The switch of the whole category.
    pub enabled: bool,
    pub pod_domain: Switch,
}

/// A data point without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Whether it is on, if its category and the master switch are.
    pub enabled: bool,
}

/// The data point `usage.user_platform`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPlatform {
    /// Whether it is on, if its category and the master switch are.
    pub enabled: bool,
    /// Only these are shared, in full or by family.
    pub allow_list: Option<Vec<String>>,
    /// These are never shared.
    pub deny_list: Option<Vec<String>>,
}

/// The data point `usage.user_lang`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserLang {
    /// Whether it is on, if its category and the master switch are.
    pub enabled: bool,
    /// How many locales are shared at most.
    pub max_locales: Option<u32>,
}

/// Which data points are in force, with master switch and categories taken into account.
///
/// To be destructured in full, so that a new data point does not compile until somebody decides about it.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is a data point, described in the registry")]
pub struct Shares<'p> {
    pub pod_version: bool,
    pub user_app_version: bool,
    pub meta_user_count: bool,
    pub user_platform: Option<&'p UserPlatform>,
    pub user_lang: Option<&'p UserLang>,
    pub pod_domain: bool,
}

/// Why a Pod sends nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// The operator turned analytics off.
    Disabled,
    /// The Pod has fewer accounts than `min_cohort_size`.
    SmallCohort,
    /// `min_cohort_size` is set, and the number of accounts is not known.
    UnknownCohort,
}

impl Policy {
    /// What may be shared by a Pod with `accounts` enabled accounts (`None` if that is not known).
    ///
    /// # Errors
    /// The reason, if nothing may.
    pub fn shares(&self, accounts: Option<u32>) -> Result<Shares<'_>, Withheld> {
        let Self { enabled, preset: _, min_cohort_size, usage, acquisition } = self;
        if !enabled {
            return Err(Withheld::Disabled);
        }
        match (min_cohort_size.unwrap_or(0), accounts) {
            (0, _) => {}
            (_, None) => return Err(Withheld::UnknownCohort),
            (min, Some(accounts)) if accounts < min => return Err(Withheld::SmallCohort),
            (_, Some(_)) => {}
        }
        let Usage {
            enabled: usage,
            pod_version,
            user_app_version,
            meta_user_count,
            user_platform,
            user_lang,
        } = usage;
        let Acquisition { enabled: acquisition, pod_domain } = acquisition;
        Ok(Shares {
            pod_version: *usage && pod_version.enabled,
            user_app_version: *usage && user_app_version.enabled,
            meta_user_count: *usage && meta_user_count.enabled,
            user_platform: (*usage && user_platform.enabled).then_some(user_platform),
            user_lang: (*usage && user_lang.enabled).then_some(user_lang),
            pod_domain: *acquisition && pod_domain.enabled,
        })
    }

    /// Whether anybody needs to know how many accounts the Pod has.
    pub fn needs_account_count(&self) -> bool {
        let counted = self.usage.enabled && self.usage.meta_user_count.enabled;
        self.enabled && (counted || self.min_cohort_size.unwrap_or(0) > 0)
    }
}

impl Default for Policy {
    /// The policy of an operator who wrote nothing.
    fn default() -> Self {
        Settings::default().policy()
    }
}
