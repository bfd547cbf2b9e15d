//! What runs stages: planning, resuming, space on the disk, rows reused from earlier runs, progress.

pub mod estimate;
mod plan;
pub mod progress;
mod runner;
pub mod schema;
mod space;
mod stage;
pub mod tables;
pub mod takeover;
#[cfg(test)]
mod tests;

pub use estimate::TableEstimate;
pub use plan::{Decision, FIRST, Planned, check_names, plan};
pub use runner::{Event, run, run_within};
pub use space::{ImageCount, Plan};
pub use stage::{Context, Findings, Needs, Outcome, Stage};
