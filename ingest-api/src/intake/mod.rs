//! Bytes → [`ValidReport`] → rows of the open windows.

pub mod code;
pub mod domain_notes;
pub mod rekey;
pub mod validate;
pub mod writer;

pub use domain_notes::DomainNotes;
pub use validate::{Rejection, ValidReport};
pub use writer::{WriteError, Writer};
