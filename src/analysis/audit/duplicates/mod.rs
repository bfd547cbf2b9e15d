//! Duplicates: candidate pairs, their similarity, and groups.
//!
//! - [`hashes`]: search for similar perceptual hashes among millions; [`orientation`]: quarter turns; `alignment` and [`picture`]:
//!   alignment and comparison of thumbnails; [`threshold`]: minimum similarity of duplicates; [`groups`]: connected components

mod alignment;
pub mod groups;
pub mod hashes;
pub mod orientation;
pub mod picture;
pub mod threshold;
