//! The user's data: image files, metadata and bounding boxes.
//!
//! - [`listing`]: the image files of a folder; [`metadata`], [`user_table`], [`boxes`]: tables about them
//! - [`pairing`]: which image a row of a table is about
//! - [`image`]: decoding, preprocessing, geometry, quality measures

pub mod boxes;
pub mod image;
pub mod listing;
pub mod metadata;
mod multi_label;
pub mod pairing;
pub mod user_table;
pub mod votes;
