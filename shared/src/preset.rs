//! The named presets: `all`, `default`, `gdpr`, `lgpd`, and what each decides.

/// A preset that comes with the software. Operators may override keys of it, and define presets of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// Everything is shared, also what identifies.
    All,
    /// Everything is shared but what identifies.
    Default,
    /// What may be shared under the General Data Protection Regulation, as far as we can tell.
    Gdpr,
    /// What may be shared under the Lei Geral de Proteção de Dados, as far as we can tell.
    Lgpd,
}

impl Named {
    /// Every preset, from the most that is shared to the least.
    pub const ALL: [Self; 4] = [Self::All, Self::Default, Self::Gdpr, Self::Lgpd];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Default => "default",
            Self::Gdpr => "gdpr",
            Self::Lgpd => "lgpd",
        }
    }

    /// The preset of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// The preset that decides what this one leaves open.
    pub fn inherits(self) -> Option<Self> {
        match self {
            Self::All => None,
            Self::Default => Some(Self::All),
            Self::Gdpr => Some(Self::Default),
            Self::Lgpd => Some(Self::Gdpr),
        }
    }

    /// The least number of accounts that a Pod needs to send anything, if this preset sets one.
    pub fn min_cohort_size(self) -> Option<u32> {
        match self {
            Self::Gdpr => Some(20),
            Self::All | Self::Default | Self::Lgpd => None,
        }
    }
}
