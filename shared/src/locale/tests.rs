use std::collections::{BTreeMap, BTreeSet};

use icu_locale_core::Locale as Bcp47;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(Observed::from(Locale::parse(text)).to_string(), expected, "{text:?}");
}

/// Another library reads what we write, and finds the same in it.
#[test]
fn each_known_language_and_region_is_bcp_47() {
    for language in Locale::languages() {
        check(language, language);
        for region in Locale::regions() {
            let text = format!("{language}-{region}");
            let id = Bcp47::try_from_str(&text).unwrap().id;
            assert_eq!((id.language.as_str(), id.region.unwrap().as_str()), (language, region));
            check(&text, &text);
        }
    }
}

#[test]
fn a_locale_is_language_and_region_or_undetermined() {
    check("de-CH", "de-CH");
    check("en", "en");
    check("EN-us", "en-US");
    check("es-419", "es-419");
    check("de-Latn-DE-1996-u-co-phonebk", "de-DE");
    check("gsw-CH", "gsw-CH");
    check("de-ZZ", "de");
    check("en-XA", "en");
    for text in ["ali-CE", "was-AT", "thy-PU", "nda-YX", "qq", "x-de-CH", "i-klingon", "root", "POSIX"] {
        check(text, "und");
    }
    for odd in [
        "",
        "C",
        "C.UTF-8",
        "und",
        "x",
        "my own language",
        "secretword",
        "de CH",
        "de-CH-extraordinary",
        "🦀",
    ] {
        check(odd, "und");
    }
}

#[test]
fn one_language_has_one_code() {
    for (code, expected) in [
        ("iw-IL", "he-IL"),
        ("in-ID", "id-ID"),
        ("ji", "yi"),
        ("jw-ID", "jv-ID"),
        ("mo", "ro"),
        ("mo-MD", "ro-MD"),
        ("tl-PH", "fil-PH"),
        ("no-NO", "nb-NO"),
        ("nn-NO", "nn-NO"),
        ("cmn-Hans-CN", "zh-CN"),
        ("arb-EG", "ar-EG"),
        ("swc", "sw-CD"),
        ("swc-UG", "sw-UG"),
        ("swh-KE", "sw-KE"),
        ("prs-AF", "fa-AF"),
        ("pes-IR", "fa-IR"),
        ("quz-PE", "qu-PE"),
        ("twi-GH", "ak-GH"),
        ("ekk", "et"),
        ("lvs-LV", "lv-LV"),
        ("zsm-MY", "ms-MY"),
        ("deu-DE", "de-DE"),
        ("ger", "de"),
        // They say the script, too.
        ("sh", "sr-Latn"),
        ("sh-BA", "sr-Latn-BA"),
        ("cnr-ME", "sr-ME"),
        // These are languages of their own.
        ("yue-HK", "yue-HK"),
        ("hr-HR", "hr-HR"),
        ("ckb-IQ", "ckb-IQ"),
        ("gsw-CH", "gsw-CH"),
    ] {
        check(code, expected);
    }
}

#[test]
fn an_old_region_is_what_it_is_today() {
    for (old, now) in [
        ("de-DD", "de-DE"),
        ("ru-SU", "ru-RU"),
        ("sr-YU", "sr-RS"),
        ("sr-CS", "sr-RS"),
        ("en-UK", "en-GB"),
        ("my-BU", "my-MM"),
        ("fr-ZR", "fr-CD"),
        ("pt-TP", "pt-TL"),
        ("nl-AN", "nl-CW"),
    ] {
        check(old, now);
    }
}

#[test]
fn locales_are_read_as_systems_write_them() {
    for (written, expected) in [
        // POSIX
        ("de_DE", "de-DE"),
        ("de_DE.UTF-8", "de-DE"),
        ("de_DE@euro", "de-DE"),
        ("de_DE.ISO8859-15@euro", "de-DE"),
        ("en_US.utf8", "en-US"),
        ("sr_RS@latin", "sr-Latn-RS"),
        ("sr_RS.UTF-8@latin", "sr-Latn-RS"),
        ("uz_UZ@cyrillic", "uz-Cyrl-UZ"),
        ("sd_IN@devanagari", "sd-IN"),
        ("ca_ES@valencia", "ca-ES"),
        // Java and Android
        ("iw_IL", "he-IL"),
        ("zh_CN_#Hans", "zh-CN"),
        ("zh_TW_#Hant", "zh-TW"),
        ("sr__#Latn", "sr-Latn"),
        ("ar_EG_#u-nu-latn", "ar-EG"),
        ("th_TH_TH_#u-nu-thai", "th-TH"),
        ("ja_JP_JP", "ja-JP"),
        ("no_NO_NY", "nn-NO"),
        // ICU and Apple
        ("en_US_POSIX", "en-US"),
        ("en-US-posix", "en-US"),
        ("en-US@posix", "en-US"),
        ("en_NZ@rg=uszzzz", "en-NZ"),
        ("sr_Latn_RS@calendar=gregorian;currency=RSD", "sr-Latn-RS"),
        ("zh-Hans_US", "zh-Hans-US"),
        ("zh_Hant", "zh-Hant"),
        ("hi_Latn_IN", "hi-Latn-IN"),
        // Windows
        ("zh-CHT", "zh-Hant"),
        ("az-AZ-Cyrl", "az-Cyrl-AZ"),
        ("sr-SP-Latn", "sr-Latn-RS"),
        ("tzm-Latn-DZ", "tzm-DZ"),
        // The language behind the one that it is a part of
        ("zh-yue-HK", "yue-HK"),
        ("zh-cmn-Hans-CN", "zh-CN"),
        (" de-CH ", "de-CH"),
    ] {
        check(written, expected);
    }
}

#[test]
fn the_script_is_known_where_it_takes_another_translation() {
    let script = |text: &str| Locale::parse(text).unwrap().script();
    for (text, expected) in [
        ("zh", Script::Hans),
        ("zh-CN", Script::Hans),
        ("zh-SG", Script::Hans),
        ("zh-TW", Script::Hant),
        ("zh-HK", Script::Hant),
        ("zh-Hans-HK", Script::Hans),
        ("sr-RS", Script::Cyrl),
        ("sr-ME", Script::Latn),
        ("sr-Latn-RS", Script::Latn),
        ("pa-IN", Script::Guru),
        ("pa-PK", Script::Arab),
        ("uz-AF", Script::Arab),
        ("mn-CN", Script::Mong),
        ("hi", Script::Deva),
    ] {
        assert_eq!(script(text), Some(expected), "{text}");
    }
    assert_eq!(script("de-Latn-DE"), None);
    assert_eq!(script("zh-Cyrl-CN"), Some(Script::Hans), "nobody translates that");
}

#[test]
fn the_languages_that_devices_offer_are_known() {
    for language in "bho ceb hmn ilo kri lus nso arn quc moh sah smn sms sma smj syr tzm agq bas ccp csw dje ewo fur kgp \
                     lkt lmo mfe nnh nqo pcm prg raj scn szl vec xnr yrl zgh an aa crh csb gez hak hne lzh nan shs tcy unm wae"
        .split_ascii_whitespace()
    {
        check(language, language);
    }
}

/// A code is a language or another name of one, and not both; and so with regions.
#[test]
fn aliases_lead_to_what_is_known() {
    let languages: BTreeSet<_> = Locale::languages().collect();
    let regions: BTreeSet<_> = Locale::regions().collect();
    assert_eq!(languages.len(), names::LANGUAGES.len());
    assert_eq!(regions.len(), names::REGIONS.len());
    let aliases: BTreeMap<_, _> = aliases::LANGUAGES.iter().copied().collect();
    assert_eq!(aliases.len(), aliases::LANGUAGES.len());
    for (code, means) in aliases {
        assert!(!languages.contains(code), "{code}");
        check(means, means);
        check(code, means);
    }
    for (code, means) in aliases::REGIONS {
        assert!(!regions.contains(code) && regions.contains(means), "{code}");
    }
}

#[test]
fn readers_know_a_label_by_its_names() {
    let label = |label| Locale::reader_label(label);
    assert_eq!(label("de-CH").as_deref(), Some("German (Switzerland)"));
    assert_eq!(label("zh-Hant").as_deref(), Some("Chinese (Traditional)"));
    assert_eq!(label("zh-Hant-TW").as_deref(), Some("Chinese (Traditional, Taiwan)"));
    assert_eq!(label("sr-Latn-RS").as_deref(), Some("Serbian (Latin, Serbia)"));
    assert_eq!(label("qq"), None);
}

fn any_subtag() -> impl Strategy<Value = String> {
    let known: Vec<&str> =
        ["zh", "sr", "de", "sh", "no", "Hant", "latn", "Cyrl", "TW", "rs", "419", "u", "x", "NY", "posix"]
            .into();
    prop_oneof![prop::sample::select(known).prop_map(str::to_owned), "[a-zA-Z0-9]{0,9}", "\\PC{0,4}"]
}

fn any_text() -> impl Strategy<Value = String> {
    let separated =
        (any_subtag(), prop::collection::vec(("[-_#.@]", any_subtag()), 0..6)).prop_map(|(first, more)| {
            more.into_iter().fold(first, |text, (separator, subtag)| text + &separator + &subtag)
        });
    prop_oneof![separated, "\\PC{0,40}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever was written, what is left is of the lists, and is read again as itself.
    #[test]
    fn nothing_but_known_codes_is_left(text in any_text()) {
        if let Some(locale) = Locale::parse(&text) {
            let written = locale.to_string();
            prop_assert_eq!(Locale::parse(&written), Some(locale), "{:?} gives {:?}", text, written);
            prop_assert_eq!(Locale::from_code(locale.to_code()), Some(locale));
            for (n, part) in written.split('-').enumerate() {
                let known = match n {
                    0 => Locale::languages().any(|known| known == part),
                    _ => Script::parse(part).is_some() || Locale::regions().any(|known| known == part),
                };
                prop_assert!(known, "{:?} gives {:?}", text, written);
            }
        }
    }

    /// What the grammar of BCP 47 reads as a language, we read as the same one.
    #[test]
    fn bcp_47_is_read_as_another_library_reads_it(text in "[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?(-[a-z]{5,8})?(-u-nu-latn)?") {
        let (ours, theirs) = (Locale::parse(&text), Bcp47::try_from_str(&text));
        if let (Some(ours), Ok(theirs)) = (ours, theirs)
            && Locale::languages().any(|known| known == theirs.id.language.as_str())
        {
            prop_assert_eq!(ours.language(), theirs.id.language.as_str());
            let region = theirs.id.region.and_then(|region| known_region(region.as_str()));
            prop_assert_eq!(ours.region(), region.as_ref().map(super::text));
        }
    }
}
