//! The types and the registry → `event.schema.json` and the generated part of `DATA-POINTS.md`.
//!
//! Run it after a change of either: `cargo run -p shared --example docs`. A test compares what is committed.

use std::fs;
use std::io;
use std::path::Path;

use shared::data_point;
use shared::event::Event;

fn main() -> io::Result<()> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(room.join("event.schema.json"), format!("{:#}\n", Event::json_schema()))?;

    let page = room.join("DATA-POINTS.md");
    let written = fs::read_to_string(&page)?;
    let (by_hand, _) = written.split_once(data_point::GENERATED).unwrap_or((&written, ""));
    fs::write(&page, format!("{by_hand}{}", data_point::markdown()))
}
