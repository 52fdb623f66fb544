//! Text → a [`Version`].

use super::{Stage, Version};

/// What builds of a branch are called, alone or before a commit or a date.
const BRANCHES: [&str; 10] =
    ["edge", "main", "master", "trunk", "nightly", "canary", "dev", "develop", "development", "latest"];
/// Words before a release: the pre-releases of npm, Maven, PEP 440 and of release channels.
const BEFORE: [&str; 15] = [
    "dev",
    "devel",
    "develop",
    "development",
    "nightly",
    "canary",
    "pre",
    "preview",
    "prerelease",
    "snapshot",
    "milestone",
    "next",
    "insider",
    "insiders",
    "ea",
];
/// Words that say nothing but that it is released.
const RELEASED: [&str; 5] = ["final", "ga", "lts", "release", "stable"];
/// Words after a release; `dirty` and `modified` are those of `git describe` for what is not committed.
const AFTER: [&str; 7] = ["post", "hotfix", "bugfix", "fix", "patch", "dirty", "modified"];
/// Words after a release if a number follows.
const AFTER_WITH_NUMBER: [&str; 5] = ["p", "pl", "sp", "r", "rev"];

/// The normal form of `text`.
pub(super) fn version(text: &str) -> Option<Version> {
    let text = text.trim_ascii();
    if is_branch(text) || is_commit(text) {
        return Some(Version::EDGE);
    }
    let text =
        ["version", "release", "v"].into_iter().find_map(|prefix| prefixed(text, prefix)).unwrap_or(text);
    let (numbers, count, rest) = numbers(text)?;
    let rest = rest.split_once('+').map_or(rest, |(rest, _metadata)| rest).trim_ascii_end();
    let stage = stage(rest);
    // What begins with one number may be anything.
    if count == 1 && stage == Stage::Changed {
        return None;
    }
    let [major, minor, patch] = numbers;
    let part = |number: u32| u16::try_from(number).ok();
    Version::new(part(major)?, part(minor)?, part(patch)?, stage)
}

/// What follows a prefix, if that is a number.
fn prefixed<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    let rest = rest.strip_prefix(['-', '_', '.', '/', ' ']).unwrap_or(rest);
    (head.eq_ignore_ascii_case(prefix) && rest.starts_with(|c: char| c.is_ascii_digit())).then_some(rest)
}

/// The first three numbers (0 where there are fewer), how many there are, and the rest. A fourth number counts the builds of one
/// version. A day in eight digits is read as year, month and day.
fn numbers(text: &str) -> Option<([u32; 3], usize, &str)> {
    let (mut numbers, mut count, mut rest) = ([0; 3], 0, text);
    loop {
        let (digits, after) = split_where(rest, |c| !c.is_ascii_digit());
        let number = digits.parse().ok()?;
        if count == 0 && digits.len() == 8 {
            let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
            let is_day = (1..=12).contains(&month) && (1..=31).contains(&day);
            numbers = is_day.then_some([year, month, day])?;
            count = 3;
        } else {
            if let Some(slot) = numbers.get_mut(count) {
                *slot = number;
            }
            count += 1;
        }
        match after.strip_prefix('.') {
            Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) && count < 8 => rest = next,
            _ => return Some((numbers, count, after)),
        }
    }
}

/// What a suffix says about the release that it follows.
fn stage(suffix: &str) -> Stage {
    let suffix = match suffix.split_once('(') {
        // The number or the day of a build, as Xcode and the Pod Server write it.
        Some((before, build)) if build.strip_suffix(')').is_some_and(is_build) => before.trim_ascii_end(),
        Some(_) => return Stage::Changed,
        None => suffix,
    };
    if suffix.is_empty() {
        return Stage::Release;
    }
    // Debian's tilde is before everything.
    let unknown = if suffix.starts_with('~') { Stage::Dev } else { Stage::Changed };
    let suffix = suffix.trim_start_matches(['-', '_', '.', '~', ' ']);
    let (word, after) = split_where(suffix, |c| !c.is_ascii_alphabetic());
    let is_one_of = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    let (digits, rest) =
        split_where(after.strip_prefix(['.', '-', '_', ' ']).unwrap_or(after), |c| !c.is_ascii_digit());
    let number: Option<u16> = digits.parse().ok();
    if word.is_empty() {
        return if is_described(suffix) { Stage::Post } else { unknown };
    }
    let pre: Option<fn(Option<u16>) -> Stage> = match word {
        _ if is_one_of(&["alpha"]) || is_one_of(&["a"]) && number.is_some() => Some(Stage::Alpha),
        _ if is_one_of(&["beta"]) || is_one_of(&["b"]) && number.is_some() => Some(Stage::Beta),
        _ if is_one_of(&["rc", "cr"]) || is_one_of(&["c"]) && number.is_some() => Some(Stage::Rc),
        _ => None,
    };
    match pre {
        Some(stage) if after.is_empty() => stage(None),
        Some(stage) if rest.is_empty() && number.is_some_and(|number| number <= Version::MAX_PRE) => {
            stage(number)
        }
        // A pre-release, but which?
        Some(_) => Stage::Dev,
        None if is_one_of(&BEFORE) || is_one_of(&["m"]) && number.is_some() => Stage::Dev,
        None if is_one_of(&RELEASED) && after.is_empty() => Stage::Release,
        None if is_one_of(&AFTER) || is_one_of(&AFTER_WITH_NUMBER) && number.is_some() => Stage::Post,
        None => unknown,
    }
}

/// Splits before the first character that ends the head.
fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// `git describe` after a tag: the number of commits, and the last one (`3-g44604d3`, `3-g44604d3-dirty`).
fn is_described(suffix: &str) -> bool {
    let Some((commits, commit)) = suffix.split_once("-g") else { return false };
    let commit =
        ["-dirty", "-modified", ".dirty"].iter().find_map(|end| commit.strip_suffix(end)).unwrap_or(commit);
    commits.bytes().all(|byte| byte.is_ascii_digit())
        && (4..=40).contains(&commit.len())
        && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Digits, days and commits, after a word such as `build`.
fn is_build(text: &str) -> bool {
    let text = text.trim_ascii();
    let (word, rest) = split_where(text, |c| !c.is_ascii_alphabetic());
    let rest = if ["build", "rev", "commit", "r", "b"].iter().any(|known| known.eq_ignore_ascii_case(word)) {
        rest
    } else {
        text
    };
    rest.bytes().all(|byte| byte.is_ascii_hexdigit() || b" .:-+TZ".contains(&byte))
}

/// A branch, alone or with a commit or a day behind it.
fn is_branch(text: &str) -> bool {
    let (word, rest) = split_where(text, |c| !c.is_ascii_alphabetic());
    let end = rest.strip_prefix(['-', '.', '_', '@', '+', ' ']).unwrap_or(rest);
    BRANCHES.iter().any(|branch| branch.eq_ignore_ascii_case(word))
        && end.len() <= 40
        && end.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-.".contains(&byte))
}

/// A commit by its hash, in full or cut off.
fn is_commit(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (7..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && (1..text.len()).contains(&digits)
}
