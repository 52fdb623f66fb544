//! A body → an answer that browsers and programs may cache and revalidate (RFC 9110, section 13).
//!
//! A release never changes, but a newer one follows. So caches revalidate each time, and a strong `ETag`, a
//! digest of the body, saves sending it again. Only the reader who asked may cache what needs a token, and
//! revalidates it because a token can be revoked.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use headers::{ETag, HeaderMapExt, IfNoneMatch};
use sha2::{Digest, Sha256};

/// Who may cache an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// Everybody, for good: its address changes with its content.
    Forever,
    /// Everybody, for five minutes.
    Public,
    /// The reader who asked.
    Private,
    /// Nobody.
    Never,
}

impl Cache {
    fn control(self) -> &'static str {
        match self {
            Self::Forever => "public, max-age=31536000, immutable",
            Self::Public => "public, max-age=300",
            Self::Private => "private, no-cache",
            Self::Never => "no-store",
        }
    }
}

/// The request headers on which pages and answers depend.
pub(super) const VARY: (HeaderName, HeaderValue) =
    (header::VARY, HeaderValue::from_static("Accept, Authorization, Cookie"));

/// The body, or 304 if the sender of the request has it already.
pub(super) fn answer(request: &HeaderMap, cache: Cache, media_type: &'static str, body: Bytes) -> Response {
    let digest = HEXLOWER.encode(&Sha256::digest(&body)[..16]);
    let tag: ETag = format!("\"{digest}\"").parse().expect("hexadecimal digits in quotes are a tag");
    let is_known = cache != Cache::Never
        && request.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&tag));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, media_type)], body).into_response(),
    };
    let headers = response.headers_mut();
    headers.typed_insert(tag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache.control()));
    if cache != Cache::Forever {
        headers.extend([VARY]);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(known: &[&str], cache: Cache, status: u16) {
        let mut request = HeaderMap::new();
        for line in known {
            request.append(header::IF_NONE_MATCH, line.parse().unwrap());
        }
        let answer = answer(&request, cache, "text/plain", Bytes::from_static(b"body"));
        assert_eq!(answer.status().as_u16(), status, "{known:?}");
        assert!(answer.headers().contains_key(header::ETAG));
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = answer(&HeaderMap::new(), Cache::Private, "text/plain", Bytes::from_static(b"body"));
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(first.headers()[header::CACHE_CONTROL], "private, no-cache");
        check(&[tag], Cache::Private, 304);
        check(&[tag], Cache::Forever, 304);
        // A cache on the way may have made the tag weak: `If-None-Match` compares weakly (RFC 9110, section
        // 13.1.2).
        check(&[&format!("W/{tag}")], Cache::Private, 304);
        check(&[&format!("\"a\", W/{tag}")], Cache::Private, 304);
        check(&[&format!("{tag},\"a\"")], Cache::Private, 304);
        check(&["\"a\"", tag], Cache::Private, 304);
        check(&["*"], Cache::Public, 304);
        for other in ["\"a\"", "W/\"a\"", "\"a\", W/\"b\"", "", "a", tag.trim_matches('"')] {
            check(&[other], Cache::Private, 200);
        }
        check(&[tag], Cache::Never, 200);
    }
}
