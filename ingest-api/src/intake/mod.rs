//! Bytes → [`ValidReport`] → rows of the open windows.

pub mod code;
pub mod rekey;
pub mod validate;
pub mod writer;

pub use validate::{Rejection, ValidReport};
pub use writer::{WriteError, Writer};
