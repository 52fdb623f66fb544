//! The policies of the fleet: the text that an operator wrote, and its meaning.
//!
//! The meanings are written by hand. The ground truth uses them, and never the code that resolves or applies
//! the text.

/// The policy of a Pod.
#[derive(Debug)]
pub struct PodPolicy {
    /// Its name in reports of the demo.
    pub name: &'static str,
    /// The Pod's configuration, from `[vendor_analytics]` on.
    pub toml: &'static str,
    /// What it shares.
    pub means: Meaning,
}

/// What a policy shares.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// Whether it shares anything.
    pub anything: bool,
    /// The minimum number of accounts, if any.
    pub min_cohort_size: Option<u32>,
    /// The version of the Pod.
    pub pod_version: bool,
    /// The number of accounts, as a bin.
    pub pod_size: bool,
    /// Name and version of the app.
    pub app_version: bool,
    /// Which platforms, by the app's text and its normal form.
    pub platform: fn(written: &str, normal: &str) -> bool,
    /// The first locale.
    pub language: bool,
    /// The domain.
    pub domain: bool,
    /// Data points that the catalogue does not list: those that were added later.
    pub others: bool,
}

const DEFAULT: Meaning = Meaning {
    anything: true,
    min_cohort_size: None,
    pod_version: true,
    pod_size: true,
    app_version: true,
    platform: |_, _| true,
    language: true,
    domain: false,
    others: true,
};

const GDPR: Meaning = Meaning { min_cohort_size: Some(20), others: false, ..DEFAULT };

/// The policies, and how many Pods in a thousand have each. Pods with a real proxy have the first ones.
pub const POLICIES: &[(u32, PodPolicy)] = &[
    (560, PodPolicy { name: "default", toml: "", means: DEFAULT }),
    (120, PodPolicy { name: "gdpr", toml: "[vendor_analytics]\npreset = \"gdpr\"\n", means: GDPR }),
    (20, PodPolicy { name: "lgpd", toml: "[vendor_analytics]\npreset = \"lgpd\"\n", means: GDPR }),
    (
        40,
        PodPolicy {
            name: "off",
            toml: "[vendor_analytics]\nenabled = false\n",
            means: Meaning { anything: false, ..DEFAULT },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no usage",
            toml: "[vendor_analytics]\nusage.enabled = false\n",
            means: Meaning {
                pod_version: false,
                pod_size: false,
                app_version: false,
                platform: |_, _| false,
                language: false,
                others: false,
                ..DEFAULT
            },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no Pod version",
            toml: "[vendor_analytics]\nusage.pod_version.enabled = false\n",
            means: Meaning { pod_version: false, ..DEFAULT },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no app version",
            toml: "[vendor_analytics]\nusage.user_app_version.enabled = false\n",
            means: Meaning { app_version: false, ..DEFAULT },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no size",
            toml: "[vendor_analytics]\nusage.meta_user_count.enabled = false\n",
            means: Meaning { pod_size: false, ..DEFAULT },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no platform",
            toml: "[vendor_analytics]\nusage.user_platform.enabled = false\n",
            means: Meaning { platform: |_, _| false, ..DEFAULT },
        },
    ),
    (
        20,
        PodPolicy {
            name: "no language",
            toml: "[vendor_analytics]\nusage.user_lang.enabled = false\n",
            means: Meaning { language: false, ..DEFAULT },
        },
    ),
    (
        30,
        PodPolicy {
            name: "allow list",
            toml: "[vendor_analytics]\n\
                   usage.user_platform.allow_list = [\"web\", \"macos\", \"windows-x86_64\", \"ios\", \"android\"]\n",
            means: Meaning {
                platform: |_, normal| {
                    normal == "windows-x86_64"
                        || ["web", "macos", "ios", "android"].iter().any(|family| normal.starts_with(family))
                },
                ..DEFAULT
            },
        },
    ),
    (
        30,
        PodPolicy {
            name: "deny list",
            toml: "[vendor_analytics]\nusage.user_platform.deny_list = [\"freebsd\", \"linux-riscv64\", \"plan9\"]\n",
            means: Meaning {
                platform: |written, _| {
                    !(written.starts_with("freebsd")
                        || written.starts_with("plan9")
                        || written == "linux-riscv64")
                },
                ..DEFAULT
            },
        },
    ),
    (
        20,
        PodPolicy {
            name: "one locale",
            toml: "[vendor_analytics]\nusage.user_lang.max_locales = 1\n",
            means: DEFAULT,
        },
    ),
    (
        20,
        PodPolicy {
            name: "at least 11",
            toml: "[vendor_analytics]\nmin_cohort_size = 11\n",
            means: Meaning { min_cohort_size: Some(11), ..DEFAULT },
        },
    ),
    (
        15,
        PodPolicy {
            name: "all",
            toml: "[vendor_analytics]\npreset = \"all\"\n",
            means: Meaning { domain: true, ..DEFAULT },
        },
    ),
    (
        15,
        PodPolicy {
            name: "own preset",
            toml: "[vendor_analytics]\npreset = \"acme\"\n\
                   [vendor_analytics.presets.acme]\ninherits = \"gdpr\"\nmin_cohort_size = 5\n\
                   usage.user_app_version.enabled = false\nacquisition.pod_domain.enabled = true\n",
            means: Meaning {
                min_cohort_size: Some(5),
                app_version: false,
                domain: true,
                others: false,
                ..DEFAULT
            },
        },
    ),
    (
        10,
        PodPolicy {
            name: "gdpr, changed",
            toml: "[vendor_analytics]\npreset = \"gdpr\"\n\
                   [vendor_analytics.presets.gdpr]\nusage.user_lang.max_locales = 1\nmin_cohort_size = 0\n",
            means: Meaning { others: false, ..DEFAULT },
        },
    ),
];

impl Meaning {
    /// Whether a Pod with this many accounts sends anything (`None` if it does not know the number).
    pub fn sends(&self, accounts: Option<u32>) -> bool {
        let cohort_is_large = match (self.min_cohort_size, accounts) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(least), Some(accounts)) => accounts >= least,
        };
        self.anything && cohort_is_large
    }
}
