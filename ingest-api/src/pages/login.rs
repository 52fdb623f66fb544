//! The page on which a reader enters a token.

use axum::response::Html;
use maud::html;

use super::layout;

/// A message above the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The token is unknown, revoked, or has expired.
    NotValid,
    /// The token came with a link on a page of another site.
    OtherSite,
}

impl Notice {
    fn text(self) -> &'static str {
        match self {
            Self::NotValid => "This token is unknown, has been revoked, or has expired.",
            Self::OtherSite => {
                "A page of another site led here, and that does not log you in. If the token is yours, enter it here."
            }
        }
    }
}

/// The page. `next` is the path of this site to go to after the login.
pub(crate) fn login_page(next: &str, notice: Option<Notice>) -> Html<String> {
    let described = if notice.is_some() { "hint notice" } else { "hint" };
    Html(layout::plain(
        "Log in",
        &html! {
            section.login {
                h1 { "Log in" }
                @if let Some(notice) = notice { p.alert id="notice" role="alert" { (notice.text()) } }
                form method="post" action="/login" {
                    input type="hidden" name="next" value=(next);
                    label for="token" { "Token" }
                    input id="token" name="token" type="password" required autofocus autocomplete="current-password"
                        spellcheck="false" aria-describedby=(described);
                    p.note id="hint" { "The operator of this service creates tokens with " code { "ingest-api token create NAME" } "." }
                    button type="submit" { "Log in" }
                }
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_address_says_is_escaped() {
        let Html(page) = login_page("/\"><script>alert(1)</script>", Some(Notice::NotValid));
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("role=\"alert\">This token is unknown"), "{page}");
    }
}
