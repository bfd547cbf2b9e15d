//! Duplicates: candidate pairs, their similarity, and groups.
//!
//! - [`hashes`]: search for similar perceptual hashes among millions; [`picture`]: alignment and comparison of thumbnails;
//!   [`threshold`] and [`tail`]: minimum similarities of duplicates; [`groups`]: connected components

pub mod groups;
pub mod hashes;
pub mod picture;
pub mod tail;
pub mod threshold;
