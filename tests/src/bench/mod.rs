//! The parts of a benchmark: servers that are measured while they work, and a table of results beside their
//! limits.

mod server;
mod table;

pub use server::{Server, release_binary, surroundings};
pub use table::{Goal, Row, Table, growth, median, short};
