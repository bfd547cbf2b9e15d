//! Findings: their kinds, differences between runs, and people's reviews.

pub mod changes;
mod kind;
pub mod review;

pub use kind::*;
