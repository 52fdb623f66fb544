//! The vendor's service: reports → distinct counts per window → releases → insights.

pub mod release;
pub mod window;
