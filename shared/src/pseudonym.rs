//! The hashing of the specification: domains and device addresses → pseudonyms of 16 hexadecimal digits.
//!
//! The only code that touches the salt. Everything here prints as `[redacted]`; a pseudonym leaves only by
//! being serialised into an event.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::wire::parse_str;

/// The first 16 hexadecimal digits of a SHA-256 hash, as the specification's `pseudonymize` makes them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pseudonym([u8; 8]);

impl Pseudonym {
    fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize()[..8]);
        Self(first)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 16] = text.as_bytes().try_into().ok()?;
        let (mut bytes, mut seen) = ([0; 8], 0);
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|ascii| VALUES[usize::from(ascii)]);
            *byte = high << 4 | low & 15;
            seen |= high | low;
        }
        (seen < 16).then_some(Self(bytes))
    }

    fn hex(self) -> [u8; 16] {
        let mut hex = [0; 16];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of each byte that is a lower-case hexadecimal digit, and 16 for all others: looked up without a branch, because
/// each event has two pseudonyms, and no processor foresees their digits.
const VALUES: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

macro_rules! pseudonym {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Pseudonym);

        impl $name {
            /// The eight bytes that the digits stand for.
            pub fn as_bytes(&self) -> &[u8; 8] {
                &self.0.0
            }

            /// The 16 lower-case hexadecimal digits; `None` for any other text.
            pub fn parse(text: &str) -> Option<Self> {
                Pseudonym::parse(text).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "[redacted]"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(std::str::from_utf8(&self.0.hex()).unwrap_or_default())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parse_str(deserializer, "16 lower-case hexadecimal digits", Self::parse)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
            }
        }
    };
}

pseudonym! {
    /// Stands for a Pod (or, for a direct client, its XMPP server): `pod_id` of the specification.
    PodId
}

pseudonym! {
    /// Stands for an installation on the wire. Made by the app; salted once more by a proxy.
    UserHash
}

pseudonym! {
    /// A [`UserHash`] that has been salted by the Pod.
    SaltedHash
}

impl PodId {
    /// `pod_id(domain)` of the specification. The domain is hashed as it is configured.
    pub fn of_domain(domain: &str) -> Self {
        Self(Pseudonym::of(&[domain.as_bytes()]))
    }
}

impl UserHash {
    /// `user_hash` of the specification, for the full JID `username@domain/device`.
    pub fn of_device(username: &str, domain: &str, device: &str) -> Self {
        Self(Pseudonym::of(&[username.as_bytes(), b"@", domain.as_bytes(), b"/", device.as_bytes()]))
    }
}

impl SaltedHash {
    /// The form in which it leaves the Pod.
    pub fn to_wire(self) -> UserHash {
        UserHash(self.0)
    }

    /// The salted hash with these bytes, as [`Self::as_bytes`] gave them.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(Pseudonym(bytes))
    }
}

/// 256 random bytes, unique to a Pod and never shown to anybody.
///
/// Without it, anybody who knows a device's full JID could recompute its pseudonym.
#[derive(Clone)]
pub struct Salt(Box<[u8; Self::LEN]>);

impl Salt {
    /// Its length in bytes, as the Pod Server of Prose 0.5 makes it.
    pub const LEN: usize = 256;

    /// A new salt.
    pub fn generate(rng: &mut impl Rng) -> Self {
        let mut bytes = Box::new([0; Self::LEN]);
        rng.fill_bytes(&mut bytes[..]);
        Self(bytes)
    }

    /// The salt with these bytes; `None` unless there are exactly [`Self::LEN`] of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Box::new(bytes.try_into().ok()?)))
    }

    /// The bytes, to be written to the salt file.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// `anonymize(user_hash, server_random_id)` of the specification: the ASCII digits, then the salt.
    pub fn apply(&self, user_hash: UserHash) -> SaltedHash {
        SaltedHash(Pseudonym::of(&[&user_hash.0.hex(), &self.0[..]]))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pseudonym: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_value(pseudonym).unwrap(), expected);
    }

    /// Expected digits from `printf %s … | sha256sum | cut -c1-16`.
    #[test]
    fn the_hashing_gives_known_answers() {
        check(&PodId::of_domain("example.org"), "bfabc37432958b06");
        check(&PodId::of_domain("prose.org"), "f4ce682118cee9d2");
        let device = UserHash::of_device("valerian", "prose.org", "c8f3");
        check(&device, "4f1080c3caacc192");
        let salt = Salt::from_bytes(&[0x61; 256]).unwrap();
        check(&salt.apply(device), "eda184fa8e070a95");
    }

    #[test]
    fn only_lower_case_hexadecimal_of_the_right_length_is_a_pseudonym() {
        assert!(UserHash::parse("19a124bd2f89edfe").is_some());
        for odd in [
            "",
            "19a124bd2f89edf",
            "19a124bd2f89edfe0",
            "19A124BD2F89EDFE",
            "19a124bd2f89edfg",
            "é9a124bd2f89edf",
        ] {
            assert!(UserHash::parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_salt_of_another_length_is_refused() {
        assert!(Salt::from_bytes(&[1; 255]).is_none());
        assert!(Salt::from_bytes(&[1; 257]).is_none());
        assert!(Salt::from_bytes(&[]).is_none());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let hash = UserHash::parse("19a124bd2f89edfe").unwrap();
        let salt = Salt::from_bytes(&[7; 256]).unwrap();
        let printed = format!("{hash:?} {salt:?} {:?}", salt.apply(hash));
        assert_eq!(printed, "UserHash[redacted] Salt[redacted] SaltedHash[redacted]");
    }
}
