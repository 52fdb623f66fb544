//! The open window: its calendar, its key, and its records, sealed or packed. Pure.
//!
//! ```text
//! Subject, values → Record → sealed pieces (until a merge) → packs (until the close)
//! ```

mod calendar;
pub mod codes;
mod key;
pub mod pack;
pub mod record;
pub mod seal;
mod subject;

pub use calendar::{Window, WindowKind};
pub use key::WindowKey;
pub use record::Population;
pub use subject::Subject;
