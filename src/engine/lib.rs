//! Runs stages: planning, resuming, disk space, reuse of earlier rows, progress.

mod decision;
pub mod estimate;
mod plan;
pub mod progress;
pub mod reuse;
mod runner;
pub mod schema;
mod space;
mod stage;
mod survey;
mod table_estimate;
pub mod tables;
#[cfg(test)]
mod tests;

pub use decision::{Decision, FIRST};
pub use plan::{check_names, plan};
pub use runner::{Event, run, run_within};
pub use space::{ImageCount, Plan, PlannedStage};
pub use stage::{Context, Findings, Needs, Outcome, Stage, Unread};
pub use survey::Survey;
pub use table_estimate::TableEstimate;
