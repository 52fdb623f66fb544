//! The vendor's service: reports → distinct counts per window → releases → insights.
//!
//! ```text
//! bytes → ValidReport → Subject → open window → Release → Insight
//! ```

pub mod access;
pub mod app;
mod archive;
pub mod commands;
pub mod config;
pub mod embedded;
mod http;
pub mod insight;
pub mod intake;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod oddity;
pub mod open_windows;
mod pages;
pub mod release;
pub mod store;
pub mod table;
pub mod window;

pub use http::login_path;
pub use pages::rendered_page;
