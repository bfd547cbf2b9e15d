//! What every other crate of Prospect builds on: the one error type, text that is safe to print, names of enums' values, and
//! the medians.

mod complaint;
mod complaints;
mod error;
mod names;
pub mod statistics;
pub mod text;

pub use complaint::{Complaint, Origin, Place};
pub use complaints::Complaints;
pub use error::{Error, Result};
pub use names::deserialize_name;
/// For [`names!`].
pub use serde;
