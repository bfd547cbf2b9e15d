//! Copies of pictures: which are worth comparing, how alike two are, and which belong together.
//!
//! - [`hashes`]: perceptual hashes that differ in few bits, among millions; [`picture`]: small pictures, aligned and compared
//!   pixel by pixel; [`threshold`]: from which similarity on two pictures are one; [`groups`]: pairs to groups, without chains

pub mod groups;
pub mod hashes;
pub mod picture;
pub mod threshold;
