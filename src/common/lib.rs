//! What every other crate of Prospect builds on: the one error type, and text that is safe to print.

mod error;
pub mod text;

pub use error::{Error, Result};
