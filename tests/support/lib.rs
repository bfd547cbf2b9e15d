//! Projects and runs for tests: images with a configuration, stages that are run one by one, and tables made by hand.

mod fake;
mod project;
mod stages;

pub use fake::{Fake, FakeImage, FakeLayer};
pub use project::{Project, golden};
pub use stages::{add_tables, begin, begin_stage, begin_with, replace_tables, run_stage, vectors};
