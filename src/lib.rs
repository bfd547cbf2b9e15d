//! Prospect mines an image dataset through the eyes of a trained network.

pub mod error;
pub mod picture;
pub mod topk;
pub mod unit_stats;
