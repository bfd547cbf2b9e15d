//! Projects and runs for tests: configurations, single stages and handwritten tables.

mod fake;
mod project;
mod stages;

pub use fake::{Fake, FakeImage, FakeLayer};
pub use project::{Project, golden};
pub use stages::{add_tables, begin, begin_stage, begin_with, replace_tables, run_stage, vectors};
