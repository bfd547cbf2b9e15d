//! Units: what they respond to, and where.

pub mod effective_field;
pub mod localisation;
pub mod saliency;
pub mod topk;
pub mod unit_stats;
