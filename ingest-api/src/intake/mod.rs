//! Bytes → [`ValidReport`] → records of the open windows → sealed pieces, committed.

pub mod batch;
pub mod domain_notes;
pub mod limits;
pub mod rekey;
pub mod validate;
pub mod writer;

pub use batch::MAX_BATCH;
pub use domain_notes::DomainNotes;
pub use limits::{IntakeLimits, IntakeRates};
pub use validate::{Rejection, ValidReport};
pub use writer::{WriteError, Writer};
