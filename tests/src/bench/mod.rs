//! What a benchmark is made of: servers that are watched while they work, and a table of what was measured beside its
//! limits.

mod server;
mod table;

pub use server::{Server, release_binary, surroundings};
pub use table::{Goal, Row, Table, growth, median, short};
