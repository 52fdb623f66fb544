//! The session of a browser ⇄ its cookie.

use axum::http::{HeaderMap, header};

use super::services::Services;
use crate::access::Session;

/// The session in the cookie of a request.
pub(super) fn session(headers: &HeaderMap, services: &Services) -> Option<Session> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies =
        lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(found, _)| *found == name(services)).map(|(_, secret)| Session::presented(secret))
}

/// The value of `Set-Cookie`. `SameSite=Lax` keeps requests of other sites from carrying the session.
pub(super) fn set_cookie(services: &Services, value: &str, seconds: i64) -> String {
    let secure = if services.is_secure() { "; Secure" } else { "" };
    format!("{}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}", name(services))
}

/// Behind TLS, `__Host-` binds the cookie to this host and to TLS.
fn name(services: &Services) -> &'static str {
    if services.is_secure() { "__Host-prose-session" } else { "prose-session" }
}
