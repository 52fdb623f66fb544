//! The problem types of both services, as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) wants them: one table.

use schemars::JsonSchema;
use serde::Serialize;

/// One kind of problem that a service answers with. The status tells the sender what to do: 4xx, do not send
/// the same again; 429 and 503, later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// The stable name, part of the type URI and of metric labels.
    pub slug: &'static str,
    /// One line for people; the same each time.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
}

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident = $status:literal $slug:literal $title:literal;)+) => {
        impl ProblemType {
            $($(#[$doc])* pub const $name: Self = Self { slug: $slug, title: $title, status: $status };)+
            /// Every problem type.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

problem_types! {
    /// The body is not JSON.
    MALFORMED_JSON = 400 "malformed-json" "The body is not valid JSON";
    /// A query parameter is unknown, missing or wrong.
    INVALID_QUERY = 400 "invalid-query" "A query parameter is not right";
    /// No token, or one that is unknown, expired or revoked.
    UNAUTHENTICATED = 401 "unauthenticated" "A valid token is needed";
    /// The token does not carry the right that is asked for.
    FORBIDDEN = 403 "forbidden" "This token has no right to that";
    /// No such route or resource.
    NOT_FOUND = 404 "not-found" "There is nothing here";
    /// The route exists, the method does not.
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "This method is not supported here";
    /// The request did not arrive in time.
    REQUEST_TIMEOUT = 408 "request-timeout" "The request took too long to arrive";
    /// The body is larger than is taken.
    BODY_TOO_LARGE = 413 "body-too-large" "The body is too large";
    /// The body is not declared as what is taken here.
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "The content type is not supported";
    /// JSON, but not an event.
    INVALID_EVENT = 422 "invalid-event" "The event is not as the schema says";
    /// More than one network may send or try; `Retry-After` says when to try again.
    TOO_MANY_REQUESTS = 429 "too-many-requests" "There were too many requests from your network";
    /// A fault of the service.
    INTERNAL = 500 "internal" "Something went wrong on our side";
    /// The service cannot take this now; `Retry-After` says when to try again.
    UNAVAILABLE = 503 "unavailable" "The service is not available at the moment";
    /// The proxy's disk or spool is full.
    STORAGE_FULL = 507 "storage-full" "There is no room left to keep the event";
}

/// A problem as it is sent, with the media type [`Problem::MEDIA_TYPE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem it is: stable, and nothing to be opened.
    #[serde(rename = "type")]
    uri: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Problem {
    /// The media type of a problem.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem of that type. `detail` is for people; it must not carry anything of the request's content.
    pub fn new(kind: ProblemType, detail: Option<String>) -> Self {
        let uri = format!("urn:prose-analytics:problem:{}", kind.slug);
        Self { uri, title: kind.title, status: kind.status, detail }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// One line for people; the same each time.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// What this one is about, for people.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}
