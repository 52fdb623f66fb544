//! The page on which a reader gives a token.

use axum::response::Html;
use maud::html;

use super::layout;

/// What the page says beside its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The token that was given is unknown, revoked, or has expired.
    NotValid,
    /// The token came with a link on a page of another site.
    OtherSite,
}

impl Notice {
    fn text(self) -> &'static str {
        match self {
            Self::NotValid => "This token is unknown, has been revoked, or has expired.",
            Self::OtherSite => {
                "A page of another site led here, which logs nobody in. Give the token here if it is yours."
            }
        }
    }
}

/// The page. `next` is where to go on to; a path of this site.
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
                    p.note id="hint" { "Whoever runs this service makes one with " code { "ingest-api token create NAME" } "." }
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
