//! Runs stages: planning, resuming, disk space, reuse of earlier rows, progress.

mod context;
mod decision;
pub mod estimate;
mod plan;
pub mod progress;
pub mod reuse;
mod runner;
pub mod schema;
mod space;
mod stage;
pub mod tables;
#[cfg(test)]
mod tests;

pub use context::Context;
pub use decision::{Decision, FIRST};
pub use estimate::TableEstimate;
pub use plan::{check_names, plan};
pub use runner::{Event, run, run_within};
pub use space::{ImageCount, Plan, PlannedStage};
pub use stage::{Findings, Needs, Outcome, Stage};
