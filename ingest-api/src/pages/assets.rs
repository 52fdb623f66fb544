//! Files that pages refer to: in the binary, and named after what they hold, so that browsers keep them for good.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Where it is served; changes with what is in it.
    pub(crate) path: String,
    /// What tells one version of it from another, in quotes.
    pub(crate) etag: String,
    /// What it is.
    pub(crate) media_type: &'static str,
    /// What is in it.
    pub(crate) content: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let digest = Sha256::digest(content.as_bytes());
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let path = format!("/assets/{name}-{hex}.{extension}");
        Self { path, etag: format!("\"{hex}\""), media_type, content }
    }
}

/// The style sheet of all pages.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "css", "text/css; charset=utf-8", include_str!("assets/pages.css")));

/// The sign of the pages.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// The file with that path.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*ICON].into_iter().find(|asset| asset.path == path)
}
