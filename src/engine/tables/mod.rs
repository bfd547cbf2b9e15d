//! Readers of the tables that more than one stage reads.

pub mod classes;
pub mod cosine;
pub mod features;
pub mod files;
pub mod groups;
pub mod history;
pub mod layers;
pub mod related;
pub mod reviewed;
pub mod sources;
pub mod units;
