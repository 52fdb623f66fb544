//! Tokens of readers: 32 random bytes, shown once, kept as a digest.

use jiff::Timestamp;
use rand::Rng;
use sha2::{Digest, Sha256};

/// A token as its reader holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token[redacted]")
    }
}

impl Token {
    /// What every token starts with, so that a leaked one can be found by a search.
    const PREFIX: &str = "prose-reader-";

    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}{hex}", Self::PREFIX))
    }

    /// The one that a request carries. Whether it is valid is for the database to say.
    pub fn presented(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text to be handed to the reader, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. It has 256 random bits, so that a plain hash cannot be searched.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// A reader whose token is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The token, for what the database decides about.
    pub token: Token,
    /// Whether it may read the opt-in domains.
    pub may_read_domains: bool,
}

/// When a token that is made at `now` for that long stops to work.
pub fn expiry(now: Timestamp, lifetime: std::time::Duration) -> Option<Timestamp> {
    now.checked_add(lifetime).ok()
}
