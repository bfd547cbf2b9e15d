//! Writers that take rows and give bytes: pictures, and exports in the formats of other tools.

pub mod export;
pub mod picture;
