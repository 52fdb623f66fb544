//! The registry → the generated part of `DATA-POINTS.md`.

use super::{DataPointOption, OptionKind, REGISTRY};
use crate::preset::Named;

/// The line in `DATA-POINTS.md` from which on it is generated.
pub const GENERATED: &str = "<!-- From here on generated: cargo run -p shared --example docs -->";

/// The registry in Markdown, for the documentation: the data points, then their options.
pub fn markdown() -> String {
    format!("{GENERATED}\n\n{}\n{}", markdown_table(), markdown_options())
}

fn markdown_options() -> String {
    let mut table = "| Option | Value | Effect |\n| --- | --- | --- |\n".to_owned();
    for point in REGISTRY {
        for DataPointOption { key, kind, effect, .. } in point.options {
            let value = match kind {
                OptionKind::AtLeastOne => "a whole number, one or more",
                OptionKind::Platforms => "a list of platforms",
            };
            table += &format!("| `{}.{key}` | {value} | {effect} |\n", point.key);
        }
    }
    table
}

/// The registry as a table in Markdown.
pub fn markdown_table() -> String {
    let presets = Named::ALL.map(Named::as_str);
    let mut table = format!(
        "| Data point | Counts | Identifies | What may be in it | Why | Since | {} |\n",
        presets.join(" | ")
    );
    table += &"| --- ".repeat(6 + presets.len());
    table += "|\n";
    for point in REGISTRY {
        let on_in = Named::ALL.map(|preset| if point.is_on_in(preset) { "on" } else { "off" });
        table += &format!(
            "| `{}` | {}s | {} | {} | {} | {} | {} |\n",
            point.key,
            point.unit.as_str(),
            if point.identifies { "yes" } else { "no" },
            point.normal_form,
            point.question,
            point.since,
            on_in.join(" | "),
        );
    }
    table
}
