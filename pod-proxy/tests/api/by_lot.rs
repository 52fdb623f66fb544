//! Random policies, and random requests full of markers.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::stand_in::{EVENT, request};

/// Requests under one policy.
pub(crate) const CASES_IN_A_ROUND: usize = 48;

/// Languages after as many others as the policy lets out.
pub(crate) const TOO_LATE: [&str; 2] = ["fo-FO", "se-NO"];

/// A random `[vendor_analytics]`, and a number of accounts.
pub(crate) fn any_policy(rng: &mut StdRng) -> (String, u32) {
    let mut text = format!("preset = '{}'\n", ["all", "default", "gdpr", "lgpd"].choose(rng).unwrap());
    for key in [
        "usage.pod_version",
        "usage.user_app_version",
        "usage.meta_user_count",
        "usage.user_platform",
        "usage.user_lang",
        "acquisition.pod_domain",
    ] {
        text += &format!("{key}.enabled = {}\n", rng.random_bool(0.6));
    }
    for (key, on) in [("enabled", 0.93), ("usage.enabled", 0.93), ("acquisition.enabled", 0.8)] {
        text += &format!("{key} = {}\n", rng.random_bool(on));
    }
    if rng.random_bool(0.5) {
        text += &format!("usage.user_lang.max_locales = {}\n", rng.random_range(1..4));
    }
    for list in ["allow_list", "deny_list"] {
        if rng.random_bool(0.3) {
            let entry = ["netbsd", "netbsd-riscv64", "web", "secret", "unrecognised"].choose(rng).unwrap();
            text += &format!("usage.user_platform.{list} = ['{entry}']\n");
        }
    }
    if rng.random_bool(0.2) {
        text += &format!("min_cohort_size = {}\n", rng.random_range(1..60));
    }
    (text, rng.random_range(20..50))
}

/// A value with a marker in it, of any JSON type.
fn any_odd(rng: &mut StdRng) -> String {
    match rng.random_range(0..9) {
        0 => r#""canary""#.to_owned(),
        1 => r#"{"canary":"canary"}"#.to_owned(),
        2 => r#"["canary",{"canary":["canary"]}]"#.to_owned(),
        3 => "null".to_owned(),
        4 => "66666666".to_owned(),
        5 => "6666.5e3".to_owned(),
        6 => "true".to_owned(),
        7 => {
            let depth = if rng.random_bool(0.8) { rng.random_range(1..=120) } else { 200 };
            format!("{}\"canary\"{}", "[".repeat(depth), "]".repeat(depth))
        }
        _ => format!("\"{}\"", "canary".repeat(rng.random_range(1..200))),
    }
}

/// Another value for a field that would be valid by itself.
fn another(rng: &mut StdRng, key: &str) -> Option<(String, String)> {
    let value = match key {
        "name" => r#""prose-app-ios""#,
        "platform" => ["\"netbsd\"", "\"netbsd-riscv64\"", "\"secret\""].choose(rng)?,
        "user_preferred_locales" => r#"["kw-GB"]"#,
        "domain" => r#""canary.example""#,
        "user_hash" => r#""deadbeefdeadbeef""#,
        "domain_hash" => r#""feedfacedeadbeef""#,
        "proxied" => "true",
        "user_count_min" | "user_count_max" => "66668",
        _ => return None,
    };
    Some((key.to_owned(), value.to_owned()))
}

/// `fields` as an object, sometimes with an odd value, a repeated key, or unknown fields.
fn object(rng: &mut StdRng, fields: &[(&str, String)]) -> String {
    let mut written: Vec<(String, String)> =
        fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if rng.random_bool(0.06)
        && let Some(index) = (0..written.len()).collect::<Vec<_>>().choose(rng)
    {
        written[*index].1 = any_odd(rng);
    }
    if rng.random_bool(0.03)
        && let Some((key, _)) = written.choose(rng).cloned()
    {
        written.push((key, any_odd(rng)));
    }
    // A key with two valid values, in either order.
    if rng.random_bool(0.05)
        && let Some((key, value)) = written.choose(rng).and_then(|(key, _)| another(rng, key))
    {
        let at = if rng.random_bool(0.5) { 0 } else { written.len() };
        written.insert(at, (key, value));
    }
    for _ in 0..rng.random_range(0..3) {
        let key =
            ["canary", "Canary", "name ", "CANARY", "user_hash2", "é-canary", "theme"].choose(rng).unwrap();
        if !written.iter().any(|(written, _)| written == key) {
            let at = rng.random_range(0..=written.len());
            written.insert(at, ((*key).to_owned(), any_odd(rng)));
        }
    }
    written.retain(|_| rng.random_bool(0.95));
    let written: Vec<_> = written.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", written.join(","))
}

/// An event full of markers. `round` marks the values that may be allowed; `max_locales` of them are languages.
fn any_event(rng: &mut StdRng, round: usize, case: usize, max_locales: usize) -> String {
    let text = |text: &str| format!("\"{text}\"");
    let platform =
        ["netbsd-riscv64", "netbsd", "netbsd-canary", "canary-x86_64", "secret"].choose(rng).unwrap();
    let locales = ["kw-GB", "gv-IM", "canary", "kw-GB-x-canary", "und", "CANARY"];
    let locales: Vec<_> = (0..rng.random_range(0..20))
        .map(|at| if at < max_locales { &locales[..] } else { &TOO_LATE })
        .map(|locales| text(locales.choose(rng).unwrap()))
        .collect();
    let app_name = ["prose-app-android", "canary", "prose-app-canary"].choose(rng).unwrap();
    let version = if rng.random_bool(0.7) { format!("442.{round}.1") } else { "442.0.0-canary".to_owned() };
    let app = object(
        rng,
        &[
            ("name", text(app_name)),
            ("version", text(&version)),
            ("platform", text(platform)),
            ("user_preferred_locales", format!("[{}]", locales.join(","))),
        ],
    );
    let identifiable = object(rng, &[("domain", text("canary.example"))]);
    let pod = object(
        rng,
        &[
            ("domain_hash", text("feedfacefeedface")),
            ("user_hash", text(&format!("deadbeef{:08x}", round * CASES_IN_A_ROUND + case))),
            ("version", text("666.6.6")),
            ("user_count_min", "66666".to_owned()),
            ("user_count_max", "66667".to_owned()),
            ("user_count_range", text("canary")),
            ("user_count_range_open", text("canary")),
            ("identifiable", identifiable),
        ],
    );
    let origin = object(rng, &[("app", app), ("pod", pod)]);
    let data = any_odd(rng);
    let name = ["app:startup", "pod:daily", "canary", "CANARY:SIGNIN"].choose(rng).unwrap();
    object(rng, &[("name", text(name)), ("data", data), ("origin", origin), ("proxied", "false".to_owned())])
}

/// A whole request full of markers.
pub(crate) fn any_request(rng: &mut StdRng, round: usize, case: usize, max_locales: usize) -> String {
    let target = match rng.random_range(0..20) {
        0 => format!("{EVENT}/canary"),
        1 => format!("{EVENT}?canary=canary&token=canary"),
        2 => "/canary".to_owned(),
        3 => "/cloud-api-proxy/v1/analytics/%65vent?canary".to_owned(),
        _ => EVENT.to_owned(),
    };
    let method = if rng.random_bool(0.03) { "CANARY" } else { "POST" };
    let mut headers = String::new();
    for name in
        ["user-agent", "cookie", "authorization", "referer", "accept-language", "x-canary", "forwarded"]
    {
        if rng.random_bool(0.5) {
            headers += &format!("{name}: canary; canary=CANARY\r\n");
        }
    }
    request(method, &target, &headers, &any_event(rng, round, case, max_locales))
}
