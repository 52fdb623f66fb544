//! Files that pages use. They are part of the binary, and their names change with their content, so browsers
//! may keep them for good.

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path, which changes with its content.
    pub(crate) path: String,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let digest = HEXLOWER.encode(&Sha256::digest(content)[..16]);
        Self { path: format!("/assets/{name}-{digest}.{extension}"), media_type, content }
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "css", "text/css; charset=utf-8", include_str!("assets/pages.css")));

pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*ICON].into_iter().find(|asset| asset.path == path)
}
