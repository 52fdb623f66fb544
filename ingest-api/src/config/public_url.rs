//! Where readers reach the service.

/// Where readers reach the service: scheme and host, with a port where it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// A URL such as `https://insights.example.org`, with or without a slash at its end; `None` if it is another one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
        (!host.is_empty() && host.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// Without a slash at its end: what browsers call the origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}
