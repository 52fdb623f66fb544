//! Who may read: tokens and sessions. Each is 32 random bytes, and only its digest is stored.

use std::marker::PhantomData;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use rand::Rng;
use sha2::{Digest, Sha256};

/// 32 random bytes as text, with a prefix by which scanners find a leaked one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<K> {
    text: String,
    kind: PhantomData<K>,
}

/// The secret of a reader.
pub type Token = Secret<OfReader>;

/// The secret in the cookie of a browser whose reader logged in with a token.
pub type Session = Secret<OfBrowser>;

/// What a secret is for, so that a session is never used as a token.
pub trait SecretKind {
    /// The beginning of its text.
    const PREFIX: &str;
}

/// Marks the secret of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfReader;

/// Marks the secret of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfBrowser;

impl SecretKind for OfReader {
    const PREFIX: &str = "prose-reader-";
}

impl SecretKind for OfBrowser {
    const PREFIX: &str = "prose-session-";
}

impl<K: SecretKind> Secret<K> {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self { text: format!("{}{}", K::PREFIX, HEXLOWER.encode(&bytes)), kind: PhantomData }
    }

    /// The secret in a request. Only the database knows whether it is valid.
    pub fn presented(text: &str) -> Self {
        Self { text: text.to_owned(), kind: PhantomData }
    }

    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored. A plain hash is enough, because nobody can search 256 random bits.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

impl<K> std::fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A reader whose token or session is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The name of the token.
    pub name: String,
    /// The digest of the token or session, which the database checks.
    pub digest: [u8; 32],
    /// Whether it may read the opt-in domains.
    pub may_read_domains: bool,
}

/// The end of something that begins at `now` and lasts for `lifetime`.
pub fn expiry(now: Timestamp, lifetime: std::time::Duration) -> Option<Timestamp> {
    now.checked_add(lifetime).ok()
}
