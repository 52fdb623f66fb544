//! The URL of the service for readers.

/// The URL of the service for readers: scheme, host and, unless it is the default, port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Parses a URL such as `https://insights.example.org`, with or without a slash at its end.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
        (!host.is_empty() && host.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The origin, as browsers call it: without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether readers use TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}
