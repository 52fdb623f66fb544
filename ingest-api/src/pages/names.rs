//! Codes of published values → the names that readers know. English, as in the Unicode CLDR.

use shared::app::AppName;
use shared::platform::Family;

use crate::insight::Insight;
use crate::release::{NOT_REPORTED, OTHER};

/// A value as readers know it: `German (Switzerland)` for `de-CH`, `macOS (aarch64)` for `macos-aarch64`.
///
/// What is folded is named after what it belongs to. A value without a name keeps its code.
pub(super) fn name(insight: Insight, label: &str) -> String {
    match label {
        OTHER => return "Everything else".to_owned(),
        NOT_REPORTED => return "Not reported".to_owned(),
        shared::event::UNRECOGNISED => return "Not recognised".to_owned(),
        _ => {}
    }
    if let Some((group, OTHER)) = label.rsplit_once('/') {
        return format!("{}, everything else", name(insight, group));
    }
    match insight {
        Insight::Languages => locale(label),
        Insight::Platforms => platform(label),
        Insight::Reach if label == "proxied" => "Through a Pod".to_owned(),
        Insight::Reach if label == "direct" => "Without a Pod".to_owned(),
        _ => label.to_owned(),
    }
}

fn locale(label: &str) -> String {
    let find = |list: &[(&str, &'static str)], code: &str| {
        list.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
    };
    let (language, region) = label.split_once('-').map_or((label, None), |(l, r)| (l, Some(r)));
    let named = find(LANGUAGES, language).unwrap_or(language);
    match region {
        Some(region) => format!("{named} ({})", find(REGIONS, region).unwrap_or(region)),
        None => named.to_owned(),
    }
}

fn platform(label: &str) -> String {
    let (family, architecture) = label.split_once('-').map_or((label, None), |(f, a)| (f, Some(a)));
    let named = Family::ALL.into_iter().find(|known| known.as_str() == family).map(|known| match known {
        Family::Web => "Browser",
        Family::MacOs => "macOS",
        Family::Windows => "Windows",
        Family::Linux => "Linux",
        Family::Ios => "iOS",
        Family::IpadOs => "iPadOS",
        Family::Android => "Android",
        Family::FreeBsd => "FreeBSD",
        Family::OpenBsd => "OpenBSD",
        Family::NetBsd => "NetBSD",
    });
    let named = named.unwrap_or(family);
    architecture.map_or_else(|| named.to_owned(), |architecture| format!("{named} ({architecture})"))
}

/// The name of an app.
pub(super) fn app(app: AppName) -> &'static str {
    match app {
        AppName::Web => "Web",
        AppName::MacOs => "macOS",
        AppName::Windows => "Windows",
        AppName::Linux => "Linux",
        AppName::Ios => "iOS",
        AppName::Android => "Android",
        AppName::Desktop => "Desktop",
    }
}

#[rustfmt::skip]
const LANGUAGES: &[(&str, &str)] = &[
    ("aa", "Afar"), ("ab", "Abkhazian"), ("ae", "Avestan"), ("af", "Afrikaans"), ("ak", "Akan"),
    ("am", "Amharic"), ("an", "Aragonese"), ("ar", "Arabic"), ("as", "Assamese"), ("av", "Avaric"),
    ("ay", "Aymara"), ("az", "Azerbaijani"), ("ba", "Bashkir"), ("be", "Belarusian"), ("bg", "Bulgarian"),
    ("bh", "Bihari"), ("bi", "Bislama"), ("bm", "Bambara"), ("bn", "Bangla"), ("bo", "Tibetan"),
    ("br", "Breton"), ("bs", "Bosnian"), ("ca", "Catalan"), ("ce", "Chechen"), ("ch", "Chamorro"),
    ("co", "Corsican"), ("cr", "Cree"), ("cs", "Czech"), ("cu", "Church Slavic"), ("cv", "Chuvash"),
    ("cy", "Welsh"), ("da", "Danish"), ("de", "German"), ("dv", "Divehi"), ("dz", "Dzongkha"),
    ("ee", "Ewe"), ("el", "Greek"), ("en", "English"), ("eo", "Esperanto"), ("es", "Spanish"),
    ("et", "Estonian"), ("eu", "Basque"), ("fa", "Persian"), ("ff", "Fula"), ("fi", "Finnish"),
    ("fj", "Fijian"), ("fo", "Faroese"), ("fr", "French"), ("fy", "Western Frisian"), ("ga", "Irish"),
    ("gd", "Scottish Gaelic"), ("gl", "Galician"), ("gn", "Guarani"), ("gu", "Gujarati"), ("gv", "Manx"),
    ("ha", "Hausa"), ("he", "Hebrew"), ("hi", "Hindi"), ("ho", "Hiri Motu"), ("hr", "Croatian"),
    ("ht", "Haitian Creole"), ("hu", "Hungarian"), ("hy", "Armenian"), ("hz", "Herero"),
    ("ia", "Interlingua"), ("id", "Indonesian"), ("ie", "Interlingue"), ("ig", "Igbo"),
    ("ii", "Sichuan Yi"), ("ik", "Inupiaq"), ("in", "Indonesian"), ("io", "Ido"), ("is", "Icelandic"),
    ("it", "Italian"), ("iu", "Inuktitut"), ("iw", "Hebrew"), ("ja", "Japanese"), ("ji", "Yiddish"),
    ("jv", "Javanese"), ("jw", "Javanese"), ("ka", "Georgian"), ("kg", "Kongo"), ("ki", "Kikuyu"),
    ("kj", "Kuanyama"), ("kk", "Kazakh"), ("kl", "Kalaallisut"), ("km", "Khmer"), ("kn", "Kannada"),
    ("ko", "Korean"), ("kr", "Kanuri"), ("ks", "Kashmiri"), ("ku", "Kurdish"), ("kv", "Komi"),
    ("kw", "Cornish"), ("ky", "Kyrgyz"), ("la", "Latin"), ("lb", "Luxembourgish"), ("lg", "Ganda"),
    ("li", "Limburgish"), ("ln", "Lingala"), ("lo", "Lao"), ("lt", "Lithuanian"), ("lu", "Luba-Katanga"),
    ("lv", "Latvian"), ("mg", "Malagasy"), ("mh", "Marshallese"), ("mi", "Māori"), ("mk", "Macedonian"),
    ("ml", "Malayalam"), ("mn", "Mongolian"), ("mo", "Romanian (Moldova)"), ("mr", "Marathi"),
    ("ms", "Malay"), ("mt", "Maltese"), ("my", "Burmese"), ("na", "Nauru"), ("nb", "Norwegian Bokmål"),
    ("nd", "North Ndebele"), ("ne", "Nepali"), ("ng", "Ndonga"), ("nl", "Dutch"),
    ("nn", "Norwegian Nynorsk"), ("no", "Norwegian"), ("nr", "South Ndebele"), ("nv", "Navajo"),
    ("ny", "Nyanja"), ("oc", "Occitan"), ("oj", "Ojibwa"), ("om", "Oromo"), ("or", "Odia"),
    ("os", "Ossetic"), ("pa", "Punjabi"), ("pi", "Pali"), ("pl", "Polish"), ("ps", "Pashto"),
    ("pt", "Portuguese"), ("qu", "Quechua"), ("rm", "Romansh"), ("rn", "Rundi"), ("ro", "Romanian"),
    ("ru", "Russian"), ("rw", "Kinyarwanda"), ("sa", "Sanskrit"), ("sc", "Sardinian"), ("sd", "Sindhi"),
    ("se", "Northern Sami"), ("sg", "Sango"), ("sh", "Serbo-Croatian"), ("si", "Sinhala"), ("sk", "Slovak"),
    ("sl", "Slovenian"), ("sm", "Samoan"), ("sn", "Shona"), ("so", "Somali"), ("sq", "Albanian"),
    ("sr", "Serbian"), ("ss", "Swati"), ("st", "Southern Sotho"), ("su", "Sundanese"), ("sv", "Swedish"),
    ("sw", "Swahili"), ("ta", "Tamil"), ("te", "Telugu"), ("tg", "Tajik"), ("th", "Thai"),
    ("ti", "Tigrinya"), ("tk", "Turkmen"), ("tl", "Tagalog"), ("tn", "Tswana"), ("to", "Tongan"),
    ("tr", "Turkish"), ("ts", "Tsonga"), ("tt", "Tatar"), ("tw", "Twi"), ("ty", "Tahitian"),
    ("ug", "Uyghur"), ("uk", "Ukrainian"), ("ur", "Urdu"), ("uz", "Uzbek"), ("ve", "Venda"),
    ("vi", "Vietnamese"), ("vo", "Volapük"), ("wa", "Walloon"), ("wo", "Wolof"), ("xh", "Xhosa"),
    ("yi", "Yiddish"), ("yo", "Yoruba"), ("za", "Zhuang"), ("zh", "Chinese"), ("zu", "Zulu"),
    ("ast", "Asturian"), ("brx", "Bodo"), ("chr", "Cherokee"), ("ckb", "Central Kurdish"), ("doi", "Dogri"),
    ("dsb", "Lower Sorbian"), ("fil", "Filipino"), ("fur", "Friulian"), ("gsw", "Swiss German"),
    ("haw", "Hawaiian"), ("hsb", "Upper Sorbian"), ("kab", "Kabyle"), ("kok", "Konkani"),
    ("ksh", "Colognian"), ("lij", "Ligurian"), ("mai", "Maithili"), ("mni", "Manipuri"),
    ("nds", "Low German"), ("sat", "Santali"), ("scn", "Sicilian"), ("szl", "Silesian"),
    ("tok", "Toki Pona"), ("yue", "Cantonese"), ("zgh", "Standard Moroccan Tamazight"),
];

#[rustfmt::skip]
const REGIONS: &[(&str, &str)] = &[
    ("AD", "Andorra"), ("AE", "United Arab Emirates"), ("AF", "Afghanistan"), ("AG", "Antigua & Barbuda"),
    ("AI", "Anguilla"), ("AL", "Albania"), ("AM", "Armenia"), ("AO", "Angola"), ("AQ", "Antarctica"),
    ("AR", "Argentina"), ("AS", "American Samoa"), ("AT", "Austria"), ("AU", "Australia"), ("AW", "Aruba"),
    ("AX", "Åland Islands"), ("AZ", "Azerbaijan"), ("BA", "Bosnia & Herzegovina"), ("BB", "Barbados"),
    ("BD", "Bangladesh"), ("BE", "Belgium"), ("BF", "Burkina Faso"), ("BG", "Bulgaria"), ("BH", "Bahrain"),
    ("BI", "Burundi"), ("BJ", "Benin"), ("BL", "St. Barthélemy"), ("BM", "Bermuda"), ("BN", "Brunei"),
    ("BO", "Bolivia"), ("BQ", "Caribbean Netherlands"), ("BR", "Brazil"), ("BS", "Bahamas"),
    ("BT", "Bhutan"), ("BV", "Bouvet Island"), ("BW", "Botswana"), ("BY", "Belarus"), ("BZ", "Belize"),
    ("CA", "Canada"), ("CC", "Cocos (Keeling) Islands"), ("CD", "Congo - Kinshasa"),
    ("CF", "Central African Republic"), ("CG", "Congo - Brazzaville"), ("CH", "Switzerland"),
    ("CI", "Côte d’Ivoire"), ("CK", "Cook Islands"), ("CL", "Chile"), ("CM", "Cameroon"), ("CN", "China"),
    ("CO", "Colombia"), ("CR", "Costa Rica"), ("CU", "Cuba"), ("CV", "Cape Verde"), ("CW", "Curaçao"),
    ("CX", "Christmas Island"), ("CY", "Cyprus"), ("CZ", "Czechia"), ("DE", "Germany"), ("DJ", "Djibouti"),
    ("DK", "Denmark"), ("DM", "Dominica"), ("DO", "Dominican Republic"), ("DZ", "Algeria"),
    ("EC", "Ecuador"), ("EE", "Estonia"), ("EG", "Egypt"), ("EH", "Western Sahara"), ("ER", "Eritrea"),
    ("ES", "Spain"), ("ET", "Ethiopia"), ("FI", "Finland"), ("FJ", "Fiji"), ("FK", "Falkland Islands"),
    ("FM", "Micronesia"), ("FO", "Faroe Islands"), ("FR", "France"), ("GA", "Gabon"),
    ("GB", "United Kingdom"), ("GD", "Grenada"), ("GE", "Georgia"), ("GF", "French Guiana"),
    ("GG", "Guernsey"), ("GH", "Ghana"), ("GI", "Gibraltar"), ("GL", "Greenland"), ("GM", "Gambia"),
    ("GN", "Guinea"), ("GP", "Guadeloupe"), ("GQ", "Equatorial Guinea"), ("GR", "Greece"),
    ("GS", "South Georgia & South Sandwich Islands"), ("GT", "Guatemala"), ("GU", "Guam"),
    ("GW", "Guinea-Bissau"), ("GY", "Guyana"), ("HK", "Hong Kong SAR China"),
    ("HM", "Heard & McDonald Islands"), ("HN", "Honduras"), ("HR", "Croatia"), ("HT", "Haiti"),
    ("HU", "Hungary"), ("ID", "Indonesia"), ("IE", "Ireland"), ("IL", "Israel"), ("IM", "Isle of Man"),
    ("IN", "India"), ("IO", "British Indian Ocean Territory"), ("IQ", "Iraq"), ("IR", "Iran"),
    ("IS", "Iceland"), ("IT", "Italy"), ("JE", "Jersey"), ("JM", "Jamaica"), ("JO", "Jordan"),
    ("JP", "Japan"), ("KE", "Kenya"), ("KG", "Kyrgyzstan"), ("KH", "Cambodia"), ("KI", "Kiribati"),
    ("KM", "Comoros"), ("KN", "St. Kitts & Nevis"), ("KP", "North Korea"), ("KR", "South Korea"),
    ("KW", "Kuwait"), ("KY", "Cayman Islands"), ("KZ", "Kazakhstan"), ("LA", "Laos"), ("LB", "Lebanon"),
    ("LC", "St. Lucia"), ("LI", "Liechtenstein"), ("LK", "Sri Lanka"), ("LR", "Liberia"), ("LS", "Lesotho"),
    ("LT", "Lithuania"), ("LU", "Luxembourg"), ("LV", "Latvia"), ("LY", "Libya"), ("MA", "Morocco"),
    ("MC", "Monaco"), ("MD", "Moldova"), ("ME", "Montenegro"), ("MF", "St. Martin"), ("MG", "Madagascar"),
    ("MH", "Marshall Islands"), ("MK", "North Macedonia"), ("ML", "Mali"), ("MM", "Myanmar (Burma)"),
    ("MN", "Mongolia"), ("MO", "Macao SAR China"), ("MP", "Northern Mariana Islands"), ("MQ", "Martinique"),
    ("MR", "Mauritania"), ("MS", "Montserrat"), ("MT", "Malta"), ("MU", "Mauritius"), ("MV", "Maldives"),
    ("MW", "Malawi"), ("MX", "Mexico"), ("MY", "Malaysia"), ("MZ", "Mozambique"), ("NA", "Namibia"),
    ("NC", "New Caledonia"), ("NE", "Niger"), ("NF", "Norfolk Island"), ("NG", "Nigeria"),
    ("NI", "Nicaragua"), ("NL", "Netherlands"), ("NO", "Norway"), ("NP", "Nepal"), ("NR", "Nauru"),
    ("NU", "Niue"), ("NZ", "New Zealand"), ("OM", "Oman"), ("PA", "Panama"), ("PE", "Peru"),
    ("PF", "French Polynesia"), ("PG", "Papua New Guinea"), ("PH", "Philippines"), ("PK", "Pakistan"),
    ("PL", "Poland"), ("PM", "St. Pierre & Miquelon"), ("PN", "Pitcairn Islands"), ("PR", "Puerto Rico"),
    ("PS", "Palestinian Territories"), ("PT", "Portugal"), ("PW", "Palau"), ("PY", "Paraguay"),
    ("QA", "Qatar"), ("RE", "Réunion"), ("RO", "Romania"), ("RS", "Serbia"), ("RU", "Russia"),
    ("RW", "Rwanda"), ("SA", "Saudi Arabia"), ("SB", "Solomon Islands"), ("SC", "Seychelles"),
    ("SD", "Sudan"), ("SE", "Sweden"), ("SG", "Singapore"), ("SH", "St. Helena"), ("SI", "Slovenia"),
    ("SJ", "Svalbard & Jan Mayen"), ("SK", "Slovakia"), ("SL", "Sierra Leone"), ("SM", "San Marino"),
    ("SN", "Senegal"), ("SO", "Somalia"), ("SR", "Suriname"), ("SS", "South Sudan"),
    ("ST", "São Tomé & Príncipe"), ("SV", "El Salvador"), ("SX", "Sint Maarten"), ("SY", "Syria"),
    ("SZ", "Eswatini"), ("TC", "Turks & Caicos Islands"), ("TD", "Chad"),
    ("TF", "French Southern Territories"), ("TG", "Togo"), ("TH", "Thailand"), ("TJ", "Tajikistan"),
    ("TK", "Tokelau"), ("TL", "Timor-Leste"), ("TM", "Turkmenistan"), ("TN", "Tunisia"), ("TO", "Tonga"),
    ("TR", "Türkiye"), ("TT", "Trinidad & Tobago"), ("TV", "Tuvalu"), ("TW", "Taiwan"), ("TZ", "Tanzania"),
    ("UA", "Ukraine"), ("UG", "Uganda"), ("UM", "U.S. Outlying Islands"), ("US", "United States"),
    ("UY", "Uruguay"), ("UZ", "Uzbekistan"), ("VA", "Vatican City"), ("VC", "St. Vincent & Grenadines"),
    ("VE", "Venezuela"), ("VG", "British Virgin Islands"), ("VI", "U.S. Virgin Islands"), ("VN", "Vietnam"),
    ("VU", "Vanuatu"), ("WF", "Wallis & Futuna"), ("WS", "Samoa"), ("XK", "Kosovo"), ("YE", "Yemen"),
    ("YT", "Mayotte"), ("ZA", "South Africa"), ("ZM", "Zambia"), ("ZW", "Zimbabwe"), ("001", "World"),
    ("150", "Europe"), ("419", "Latin America"),
];

#[cfg(test)]
mod tests {
    use shared::locale::Locale;

    use super::*;

    #[track_caller]
    fn check(insight: Insight, label: &str, expected: &str) {
        assert_eq!(name(insight, label), expected);
    }

    #[test]
    fn a_value_has_a_name_and_what_is_folded_the_name_of_its_group() {
        check(Insight::Languages, "de-CH", "German (Switzerland)");
        check(Insight::Languages, "es-419", "Spanish (Latin America)");
        check(Insight::Languages, "de/other", "German, everything else");
        check(Insight::Platforms, "macos-aarch64", "macOS (aarch64)");
        check(Insight::Platforms, "web", "Browser");
        check(Insight::PodVersions, "0.4/other", "0.4, everything else");
        check(Insight::PodSizes, "5–9", "5–9");
        check(Insight::Platforms, "other", "Everything else");
    }

    #[test]
    fn every_language_and_region_on_the_wire_has_a_name() {
        assert!(Locale::languages().eq(LANGUAGES.iter().map(|(code, _)| *code)));
        assert!(Locale::regions().eq(REGIONS.iter().map(|(code, _)| *code)));
    }
}
