//! `pod-proxy policy`: a configuration → each key with its value, the layer that decided it, and whether it is in force.

use std::io::Write;

use comfy_table::{Table, presets};
use shared::data_point::REGISTRY;
use shared::policy::{Policy, Setting};

use crate::commands::{CommandError, Format};
use crate::config::Config;

pub fn policy(config: &Config, format: Format, out: &mut impl Write) -> Result<(), CommandError> {
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&config.policy).map_err(anyhow::Error::from)?;
            writeln!(out, "{json}")?;
        }
        Format::Table => writeln!(out, "{}", table(&config.policy))?,
    }
    Ok(())
}

fn table(policy: &Policy) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["KEY", "VALUE", "DECIDED BY", "IN FORCE"]);
    table.add_row(["preset", policy.preset(), "", ""]);
    for Setting { key, value, decided_by } in policy.settings() {
        // `enabled` of a data point is in force only below switches that are on.
        let point = key.strip_suffix(".enabled").and_then(|key| REGISTRY.iter().find(|p| p.key == key));
        let in_force = match point {
            Some(point) if policy.in_force(point) => "shared",
            Some(_) => "not shared",
            None => "",
        };
        table.add_row([key, &value.to_string(), &decided_by.to_string(), in_force]);
    }
    table
}
