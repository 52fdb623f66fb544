//! `pod-proxy sent`: the last events in the log of what was sent.

use std::io::Write;

use anyhow::Context;
use comfy_table::{Table, presets};
use serde_json::Value;

use crate::commands::{CommandError, Format};
use crate::config::Config;
use crate::forward::sent_log::{self, Line};

/// Writes the last `limit` events that were sent, the oldest first.
pub fn sent(config: &Config, limit: usize, format: Format, out: &mut impl Write) -> Result<(), CommandError> {
    let lines = sent_log::read(&config.data_dir, limit)
        .with_context(|| format!("cannot read the log in {}", config.data_dir.display()))?;
    match format {
        Format::Json => {
            for line in lines {
                writeln!(out, "{}", serde_json::to_string(&line).map_err(anyhow::Error::from)?)?;
            }
        }
        Format::Table if lines.is_empty() => writeln!(out, "Nothing has been sent yet.")?,
        Format::Table => writeln!(out, "{}", table(&lines))?,
    }
    Ok(())
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SENT AT", "ANSWER", "NAME", "APP", "POD"]);
    for Line { at, answer, event } in lines {
        let event: Value = serde_json::from_str(event.get()).unwrap_or_default();
        table.add_row([
            at.clone(),
            answer.clone(),
            event["name"].as_str().unwrap_or_default().to_owned(),
            facts(&event["origin"]["app"]),
            facts(&event["origin"]["pod"]),
        ]);
    }
    table
}

/// `key value, key value` of an object.
fn facts(object: &Value) -> String {
    let fact = |(key, value): (&String, &Value)| match value {
        Value::String(text) => format!("{key} {text}"),
        other => format!("{key} {other}"),
    };
    object.as_object().into_iter().flatten().map(fact).collect::<Vec<_>>().join(", ")
}
