//! The space of feature vectors.

pub mod confusion;
pub mod linalg;
pub mod neighbors;
pub mod projection;
