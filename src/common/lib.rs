//! Shared by all crates of Prospect: the error type, terminal- and spreadsheet-safe text, named enums and medians.

mod complaint;
mod complaints;
mod error;
mod names;
pub mod spreadsheet;
pub mod statistics;
pub mod text;

pub use complaint::{Complaint, Origin, Place};
pub use complaints::Complaints;
pub use error::{Error, Result};
pub use names::deserialize_name;
/// For [`names!`].
pub use serde;
