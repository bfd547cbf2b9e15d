//! Writers that turn rows into bytes: pictures, and exports to other tools.

pub mod export;
pub mod picture;
