//! Findings: their kinds, how two runs' findings differ, and what people decided about them.

pub mod changes;
mod kind;
pub mod review;

pub use kind::*;
