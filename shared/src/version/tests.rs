use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let read = Version::parse(text).map_or("unrecognised".to_owned(), |version| version.to_string());
    assert_eq!(read, expected, "{text:?}");
}

#[test]
fn semver_is_read_as_it_is() {
    check("1.0.1", "1.0.1");
    check("0.4.0-rc.2", "0.4.0-rc.2");
    check("0.4.0-beta", "0.4.0-beta");
    check("1.0.1+build.7", "1.0.1");
    check("1.0.0-rc.1+sha.abc", "1.0.0-rc.1");
    check("999.999.999-rc.99", "999.999.999-rc.99");
}

#[test]
fn versions_are_read_as_the_field_writes_them() {
    for (written, expected) in [
        ("v1.2.3", "1.2.3"),
        ("V0.3", "0.3.0"),
        ("release-1.2.3", "1.2.3"),
        ("Version 1.2.3", "1.2.3"),
        ("1.0", "1.0.0"),
        ("2", "2.0.0"),
        ("01.00.3", "1.0.3"),
        ("1.27.1.3", "1.27.1"),
        ("2022.8.0.0", "2022.8.0"),
        ("2022.07.07.1", "2022.7.7"),
        ("v2021.10.12", "2021.10.12"),
        ("20220205.01", "2022.2.5"),
        ("1.0b3", "1.0.0-beta.3"),
        ("1.0.0a1", "1.0.0-alpha.1"),
        ("0.7.2b10", "0.7.2-beta.10"),
        ("1.2.0rc2", "1.2.0-rc.2"),
        ("3.0rc4", "3.0.0-rc.4"),
        ("4.0.0-beta2", "4.0.0-beta.2"),
        ("v0.3.17-Beta4", "0.3.17-beta.4"),
        ("0.1.12-alpha4", "0.1.12-alpha.4"),
        ("1.0.0_rc1", "1.0.0-rc.1"),
        ("1.0.0~rc1", "1.0.0-rc.1"),
        ("0.3.5-b21", "0.3.5-beta.21"),
        ("0.1 (2)", "0.1.0"),
        ("0.5.0 (2026-05-12)", "0.5.0"),
        ("0.5.0 (build 42)", "0.5.0"),
        ("0.5.0-rc.1 (b4f5eb9)", "0.5.0-rc.1"),
        ("0.1.0+6", "0.1.0"),
        ("1.0.0-final", "1.0.0"),
        ("1.0.0.RELEASE", "1.0.0"),
    ] {
        check(written, expected);
    }
}

#[test]
fn a_build_of_a_branch_has_no_number() {
    for branch in ["edge", "Edge", "main-44604d3", "nightly-2026-05-01", "44604d34", "dev", "latest"] {
        check(branch, "edge");
    }
}

#[test]
fn an_unknown_suffix_costs_the_suffix_and_leaves_a_mark() {
    for (written, expected) in [
        // Before the release
        ("0.15.0-dev", "0.15.0-dev"),
        ("2022.3.0.dev0", "2022.3.0-dev"),
        ("0.15.0-nightly.20260501", "0.15.0-dev"),
        ("0.15.0-canary.3", "0.15.0-dev"),
        ("0.15.0-pre.2", "0.15.0-dev"),
        ("1.0-SNAPSHOT", "1.0.0-dev"),
        ("1.0.0-rc.1.2", "1.0.0-dev"),
        ("1.0.0-rc.100", "1.0.0-dev"),
        ("1.0.0-rc.1-5-g44604d3", "1.0.0-dev"),
        ("1.0.0~acme", "1.0.0-dev"),
        // After it
        ("0.19.3-3-g44604d34", "0.19.3-post"),
        ("0.19.3-3-g44604d34-dirty", "0.19.3-post"),
        ("v1.1.6-hotfix", "1.1.6-post"),
        ("v0.0.7-hotfix2", "0.0.7-post"),
        ("1.0.post1", "1.0.0-post"),
        ("1.0.0_p2", "1.0.0-post"),
        ("1.0.0-dirty", "1.0.0-post"),
        // Who knows?
        ("2022.7.5-custom", "2022.7.5-changed"),
        ("1.0.0-jane-laptop", "1.0.0-changed"),
        ("0.3.4-2", "0.3.4-changed"),
        ("2022.4.0-20220321", "2022.4.0-changed"),
        ("0.19.3-x86_64", "0.19.3-changed"),
        ("1.0.2a", "1.0.2-changed"),
        ("1.0.0 (by jane)", "1.0.0-changed"),
        ("1.0.0-3-gjane", "1.0.0-changed"),
        ("1.0.0🦀", "1.0.0-changed"),
    ] {
        check(written, expected);
    }
}

#[test]
fn what_is_no_version_is_not_recognised() {
    for text in
        ["", "v", "own", "unknown", "jane", "7 little pigs", "1000.0.0", "9999.9999.9999", "99999", "1234567"]
    {
        check(text, "unrecognised");
    }
    for text in [
        "1.0.18446744073709551616",
        "1.2.2020",
        "18032022.003",
        "-1.0.0",
        "1,0",
        "١.٠.٠",
        "main-street",
        "2026-05-12",
    ] {
        check(text, "unrecognised");
    }
}

#[test]
fn versions_are_ordered_as_semver_says_and_marks_come_before_what_they_may_be() {
    let ordered = [
        "edge",
        "0.9.0",
        "1.0.0-changed",
        "1.0.0-dev",
        "1.0.0-alpha",
        "1.0.0-alpha.0",
        "1.0.0-alpha.1",
        "1.0.0-beta",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.0-post",
        "1.0.1",
        "1.1.0",
        "2026.1.0",
    ];
    let parsed: Vec<_> = ordered.iter().map(|text| Version::parse(text).unwrap()).collect();
    assert!(parsed.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_mark_says_on_which_side_of_a_version_a_build_may_be() {
    let side = |version: &str, exact: &str| {
        Version::parse(version).unwrap().is_below(Version::parse(exact).unwrap())
    };
    for (version, exact, expected) in [
        ("1.0.0-rc.1", "1.0.0", Some(true)),
        ("1.0.0", "1.0.0", Some(false)),
        ("1.0.0", "1.0.0-rc.1", Some(false)),
        ("1.0.0-acme", "0.9.9", Some(false)),
        ("1.0.0-acme", "1.0.0-rc.1", None),
        ("1.0.0-acme", "1.0.0", None),
        ("1.0.0-acme", "1.0.1-alpha", Some(true)),
        ("1.0.0-nightly", "1.0.0", Some(true)),
        ("1.0.0-nightly", "1.0.0-rc.1", None),
        ("1.0.0-nightly", "0.9.9", Some(false)),
        ("1.0.0-3-g44604d3", "1.0.0", Some(false)),
        ("1.0.0-3-g44604d3", "1.0.1-alpha", Some(true)),
        ("edge", "1.0.0", None),
        ("1.0.0", "1.0.0-acme", None),
    ] {
        assert_eq!(side(version, exact), expected, "{version} and {exact}");
    }
}

fn any_version_text() -> impl Strategy<Value = String> {
    let suffix = prop_oneof![
        "[-._~ ]?(alpha|beta|rc|a|b|dev|post|hotfix|changed|nightly)[-.]?[0-9]{0,4}",
        "-[0-9]{1,3}-g[0-9a-f]{4,12}",
        "[-+.~ (]\\PC{0,20}",
        "\\PC{0,3}",
    ];
    prop_oneof![
        ("[vV]?[0-9]{1,4}(\\.[0-9]{1,4}){0,4}", suffix).prop_map(|(number, suffix)| number + &suffix),
        "\\PC{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whatever was written: what is left is a number and one of eight words, and is read again as itself.
    #[test]
    fn nothing_of_a_free_text_is_left(text in any_version_text()) {
        if let Some(version) = Version::parse(&text) {
            let written = version.to_string();
            prop_assert_eq!(Version::parse(&written), Some(version), "{:?} gives {:?}", text, written);
            prop_assert_eq!(Version::from_code(version.to_code()), Some(version));
            let words: String = written.chars().filter(|c| c.is_ascii_alphabetic()).collect();
            let known = ["", "edge", "alpha", "beta", "rc", "dev", "post", "changed"];
            prop_assert!(known.contains(&words.as_str()) && written.len() <= 20, "{:?} gives {:?}", text, written);
        }
    }

    /// An answer of [`Version::is_below`] fits the order of exact versions.
    #[test]
    fn what_is_below_a_version_is_below_all_later_ones(
        text in any_version_text(),
        cuts in prop::collection::vec("[0-9](\\.[0-9]){2}(-(alpha|beta|rc)\\.[0-9])?", 2..5),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| Version::parse(cut).unwrap()).collect();
        cuts.sort_unstable();
        if let Some(version) = Version::parse(&text).filter(|version| *version != Version::EDGE) {
            let rank = |below| match below { Some(false) => 0, None => 1, Some(true) => 2 };
            let sides: Vec<_> = cuts.iter().map(|cut| rank(version.is_below(*cut))).collect();
            prop_assert!(sides.is_sorted(), "{} and {:?}: {:?}", version, cuts, sides);
        }
    }
}
