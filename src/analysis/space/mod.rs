//! Feature space.

pub mod confusion;
pub mod linalg;
pub mod neighbors;
pub mod projection;
