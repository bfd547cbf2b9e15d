//! `pipeline.toml`: every setting with its default and its allowed values, stated once in the `read` function of its section.
//!
//! All keys are checked before anything runs, and all complaints are reported at once, each with its line.

mod audit;
mod explain;
mod features;
mod files;
mod images;
mod methods;
mod network;
mod pipeline;
mod reader;
mod report;
mod settings;
mod sidecar;
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod values;

pub use audit::AuditConfig;
pub use explain::{BackpropConfig, ExplainConfig};
pub use features::{NeighborsConfig, PatchesConfig, ProjectConfig};
pub use images::{ImagesConfig, RunConfig};
pub use methods::{ProbabilitySource, ProjectionMethod, SearchMethod};
pub use network::{ExtractConfig, ModelConfig};
pub use pipeline::Config;
pub use report::ReportConfig;
pub use settings::KeyInfo;
pub use sidecar::{open_model, read_sidecar};
pub use template::{Setting, to_toml};
pub use values::{ClassChoice, Labels, MapStorage, UnitChoice};
