//! The vendor's service: reports → distinct counts per window → releases → insights.
//!
//! ```text
//! bytes → Event → ValidReport → Records → sealed piece → open window → Block → Release → Answer
//! ```

pub mod access;
pub mod anomaly;
pub mod app;
pub mod commands;
pub mod config;
pub mod embedded;
mod http;
pub mod insight;
pub mod intake;
pub mod jobs;
pub mod keys;
pub mod metrics;
pub mod open_windows;
mod pages;
pub mod rates;
pub mod release;
mod release_cache;
pub mod store;
pub mod table;
pub mod window;

pub use http::login_path;
pub use pages::rendered_page;
