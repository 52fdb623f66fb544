//! A body → an answer that a browser or a program may keep, and ask about again (RFC 9110, section 13).
//!
//! A release never changes, but the next one comes: what is kept is asked about each time, and a strong `ETag`, a
//! digest of the body, saves sending it again. What needs a token is kept by the one who asked only; it is asked about
//! each time for another reason too, which is that a token can be revoked.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// Who may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everybody, for five minutes.
    Public,
    /// The reader who asked.
    Private,
    /// Nobody.
    Never,
}

impl Keep {
    fn policy(self) -> &'static str {
        match self {
            Self::Public => "public, max-age=300",
            Self::Private => "private, no-cache",
            Self::Never => "no-store",
        }
    }
}

/// The body, or 304 if the one who asks has it already.
pub(super) fn answered(asked: &HeaderMap, keep: Keep, media_type: &'static str, body: Bytes) -> Response {
    let digest = Sha256::digest(&body);
    let tag: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let is_known = keep != Keep::Never && has(asked, &tag);
    let headers = [
        (header::CACHE_CONTROL, keep.policy().to_owned()),
        (header::ETAG, tag),
        (header::VARY, "Accept, Authorization, Cookie".to_owned()),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// Whether `If-None-Match` names the tag, which is compared weakly there.
fn has(asked: &HeaderMap, tag: &str) -> bool {
    let lines = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &str, keep: Keep, status: u16) {
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, known.parse().unwrap());
        let answer = answered(&asked, keep, "text/plain", Bytes::from_static(b"body"));
        assert_eq!(answer.status().as_u16(), status, "{known}");
        assert!(answer.headers().contains_key(header::ETAG));
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = answered(&HeaderMap::new(), Keep::Private, "text/plain", Bytes::from_static(b"body"));
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(first.headers()[header::CACHE_CONTROL], "private, no-cache");
        check(tag, Keep::Private, 304);
        check(&format!("\"a\", W/{tag}"), Keep::Private, 304);
        check("*", Keep::Public, 304);
        check("\"a\"", Keep::Private, 200);
        check("", Keep::Private, 200);
        check(tag, Keep::Never, 200);
    }
}
