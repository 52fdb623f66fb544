//! Other codes of the known languages and regions → the code that we count, so that one language has one cell.

/// From the alias data of CLDR 41 and 48 (`languageAlias`): deprecated codes, the codes of ISO 639-2 and 639-3 for languages
/// that have a shorter one, and the member that stands for its macro-language. A script or region goes along where the
/// code says it.
///
/// CLDR does not decide these, or its versions and other libraries decide otherwise; here they are so on purpose:
/// - `no` is `nb`, because texts in "Norwegian" are in Bokmål. Nynorsk stays `nn`.
/// - Varieties of Arabic that are hardly written (`arz`, `ary` and others) are `ar`.
/// - `ayc` (glibc's Aymara) is `ay`, as CLDR does with `ayr`.
#[rustfmt::skip]
pub(super) const LANGUAGES: &[(&str, &str)] = &[
    ("bh", "bho"), ("in", "id"), ("iw", "he"), ("ji", "yi"), ("jw", "jv"), ("mo", "ro"), ("no", "nb"),
    ("sh", "sr-Latn"), ("tl", "fil"), ("tw", "ak"), ("aar", "aa"), ("abk", "ab"), ("acm", "ar"), ("aeb", "ar"),
    ("afr", "af"), ("ajp", "ar"), ("aka", "ak"), ("alb", "sq"), ("als", "sq"), ("amh", "am"), ("apc", "ar"),
    ("ara", "ar"), ("arb", "ar"), ("arg", "an"), ("arm", "hy"), ("ars", "ar"), ("ary", "ar"), ("arz", "ar"),
    ("asm", "as"), ("ava", "av"), ("ave", "ae"), ("ayc", "ay"), ("aym", "ay"), ("ayr", "ay"), ("aze", "az"),
    ("azj", "az"), ("bak", "ba"), ("bam", "bm"), ("baq", "eu"), ("bcc", "bal"), ("bcl", "bik"), ("bel", "be"),
    ("ben", "bn"), ("bih", "bho"), ("bis", "bi"), ("bod", "bo"), ("bos", "bs"), ("bre", "br"), ("bul", "bg"),
    ("bur", "my"), ("bxr", "bua"), ("cat", "ca"), ("ces", "cs"), ("cha", "ch"), ("che", "ce"), ("chi", "zh"),
    ("chu", "cu"), ("chv", "cv"), ("cld", "syr"), ("cmn", "zh"), ("cnr", "sr-ME"), ("cor", "kw"), ("cos", "co"),
    ("cre", "cr"), ("cwd", "cr"), ("cym", "cy"), ("cze", "cs"), ("dan", "da"), ("deu", "de"), ("dgo", "doi"),
    ("div", "dv"), ("dut", "nl"), ("dzo", "dz"), ("ekk", "et"), ("ell", "el"), ("eng", "en"), ("epo", "eo"),
    ("esk", "ik"), ("est", "et"), ("eus", "eu"), ("ewe", "ee"), ("fao", "fo"), ("fas", "fa"), ("fij", "fj"),
    ("fin", "fi"), ("fra", "fr"), ("fre", "fr"), ("fry", "fy"), ("fuc", "ff"), ("ful", "ff"), ("gaz", "om"),
    ("geo", "ka"), ("ger", "de"), ("gla", "gd"), ("gle", "ga"), ("glg", "gl"), ("glv", "gv"), ("gom", "kok"),
    ("gre", "el"), ("grn", "gn"), ("gug", "gn"), ("guj", "gu"), ("hat", "ht"), ("hau", "ha"),
    ("hbs", "sr-Latn"), ("hea", "hmn"), ("heb", "he"), ("her", "hz"), ("hin", "hi"), ("hmo", "ho"),
    ("hrv", "hr"), ("hun", "hu"), ("hye", "hy"), ("ibo", "ig"), ("ice", "is"), ("ido", "io"), ("iii", "ii"),
    ("ike", "iu"), ("iku", "iu"), ("ile", "ie"), ("ina", "ia"), ("ind", "id"), ("ipk", "ik"), ("isl", "is"),
    ("ita", "it"), ("jav", "jv"), ("jaw", "jv"), ("jpn", "ja"), ("kal", "kl"), ("kan", "kn"), ("kas", "ks"),
    ("kat", "ka"), ("kau", "kr"), ("kaz", "kk"), ("khk", "mn"), ("khm", "km"), ("kik", "ki"), ("kin", "rw"),
    ("kir", "ky"), ("kmr", "ku"), ("knc", "kr"), ("kng", "kg"), ("knn", "kok"), ("kom", "kv"), ("kon", "kg"),
    ("kor", "ko"), ("kpv", "kv"), ("kua", "kj"), ("kur", "ku"), ("lao", "lo"), ("lat", "la"), ("lav", "lv"),
    ("lim", "li"), ("lin", "ln"), ("lit", "lt"), ("ltz", "lb"), ("lub", "lu"), ("lug", "lg"), ("lvs", "lv"),
    ("mac", "mk"), ("mah", "mh"), ("mal", "ml"), ("mao", "mi"), ("mar", "mr"), ("may", "ms"), ("mhr", "chm"),
    ("mkd", "mk"), ("mlg", "mg"), ("mlt", "mt"), ("mol", "ro"), ("mon", "mn"), ("mri", "mi"), ("msa", "ms"),
    ("mup", "raj"), ("mya", "my"), ("nau", "na"), ("nav", "nv"), ("nbl", "nr"), ("nde", "nd"), ("ndo", "ng"),
    ("nep", "ne"), ("nld", "nl"), ("nno", "nn"), ("nob", "nb"), ("nor", "nb"), ("npi", "ne"), ("nya", "ny"),
    ("oci", "oc"), ("ojg", "oj"), ("oji", "oj"), ("ori", "or"), ("orm", "om"), ("ory", "or"), ("oss", "os"),
    ("pan", "pa"), ("pbu", "ps"), ("per", "fa"), ("pes", "fa"), ("pli", "pi"), ("plt", "mg"), ("pol", "pl"),
    ("por", "pt"), ("prs", "fa-AF"), ("pus", "ps"), ("que", "qu"), ("quz", "qu"), ("rmy", "rom"), ("roh", "rm"),
    ("ron", "ro"), ("rum", "ro"), ("run", "rn"), ("rus", "ru"), ("sag", "sg"), ("san", "sa"), ("scc", "sr"),
    ("scr", "hr"), ("sin", "si"), ("slk", "sk"), ("slo", "sk"), ("slv", "sl"), ("sme", "se"), ("smo", "sm"),
    ("sna", "sn"), ("snd", "sd"), ("som", "so"), ("sot", "st"), ("spa", "es"), ("sqi", "sq"), ("src", "sc"),
    ("srd", "sc"), ("srp", "sr"), ("ssw", "ss"), ("sun", "su"), ("swa", "sw"), ("swc", "sw-CD"), ("swe", "sv"),
    ("swh", "sw"), ("tah", "ty"), ("tam", "ta"), ("tat", "tt"), ("tel", "te"), ("tgk", "tg"), ("tgl", "fil"),
    ("tha", "th"), ("tib", "bo"), ("tir", "ti"), ("ton", "to"), ("tsn", "tn"), ("tso", "ts"), ("tuk", "tk"),
    ("tur", "tr"), ("twi", "ak"), ("uig", "ug"), ("ukr", "uk"), ("urd", "ur"), ("uzb", "uz"), ("uzn", "uz"),
    ("ven", "ve"), ("vie", "vi"), ("vol", "vo"), ("wel", "cy"), ("wln", "wa"), ("wol", "wo"), ("xho", "xh"),
    ("ydd", "yi"), ("yid", "yi"), ("yor", "yo"), ("zha", "za"), ("zho", "zh"), ("zsm", "ms"), ("zul", "zu"),
    ("zyb", "za"),
];

/// From the alias data of CLDR 41 (`territoryAlias`). Where a country became several, it is the first of them in that data.
/// `SP` is Serbia in old versions of Windows.
#[rustfmt::skip]
pub(super) const REGIONS: &[(&str, &str)] = &[
    ("AN", "CW"), ("BU", "MM"), ("CS", "RS"), ("CT", "KI"), ("DD", "DE"), ("DY", "BJ"), ("FQ", "AQ"),
    ("FX", "FR"), ("HV", "BF"), ("JT", "UM"), ("MI", "UM"), ("NH", "VU"), ("NQ", "AQ"), ("NT", "SA"),
    ("PC", "FM"), ("PU", "UM"), ("PZ", "PA"), ("RH", "ZW"), ("SP", "RS"), ("SU", "RU"), ("TP", "TL"),
    ("UK", "GB"), ("VD", "VN"), ("WK", "UM"), ("YD", "YE"), ("YU", "RS"), ("ZR", "CD"),
];
