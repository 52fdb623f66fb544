//! Who may read: tokens and sessions, each 32 random bytes of which only a digest is kept.

use std::marker::PhantomData;

use jiff::Timestamp;
use rand::Rng;
use sha2::{Digest, Sha256};

/// 32 random bytes, as text behind a prefix by which a leaked one can be found.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<K> {
    text: String,
    kind: PhantomData<K>,
}

/// A secret as a reader holds it.
pub type Token = Secret<OfReader>;

/// What a browser holds, as a cookie, after its reader has logged in with a token.
pub type Session = Secret<OfBrowser>;

/// What a secret is for: one is never taken for another.
pub trait Kind {
    /// What its text begins with.
    const PREFIX: &str;
}

/// Marks the secret of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfReader;

/// Marks the secret of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfBrowser;

impl Kind for OfReader {
    const PREFIX: &str = "prose-reader-";
}

impl Kind for OfBrowser {
    const PREFIX: &str = "prose-session-";
}

impl<K: Kind> Secret<K> {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: format!("{}{hex}", K::PREFIX), kind: PhantomData }
    }

    /// The one that a request carries. Whether it is valid is for the database to say.
    pub fn presented(text: &str) -> Self {
        Self { text: text.to_owned(), kind: PhantomData }
    }

    /// The text, to be handed over once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept of it. It has 256 random bits, so that a plain hash cannot be searched.
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
    /// What the token was called by whoever made it.
    pub name: String,
    /// The digest of the token or session, for what the database decides about.
    pub digest: [u8; 32],
    /// Whether it may read the opt-in domains.
    pub may_read_domains: bool,
}

/// When something that begins at `now` and lasts that long is over.
pub fn expiry(now: Timestamp, lifetime: std::time::Duration) -> Option<Timestamp> {
    now.checked_add(lifetime).ok()
}
