//! Prospect mines an image dataset with a trained network.
//!
//! # Architecture
//!
//! ```text
//! images ──scan──▶ images ──extract──▶ predictions, features, units, maps ──patches──▶ patches ──report──▶ pages
//! ```
//!
//! Only `extract` reads every pixel and runs the network on all images; later stages read tables. A run folder contains
//! Parquet tables, pictures and a manifest, the only record of what is complete and under which key.
//!
//! Each wing is a crate of the workspace and builds only on those below it; within a wing, imports between files have no
//! cycles (`tests/wings.rs`):
//!
//! | wing | contents |
//! |---|---|
//! | [`cli`] | the command line; the only place that prints |
//! | [`queries`] | queries on a finished run: similar images, units, SQL audits, exports; the first configuration |
//! | [`stages`] | the registry of stages, and the stages themselves |
//! | [`engine`] | planning and running stages; readers of the tables that more than one stage reads |
//! | [`config`] | every setting, with its default and its checks |
//! | [`analysis`] | the algorithms, over slices and tensors: units, the space of features, audits |
//! | [`output`] | writers from rows to bytes: pictures, exports |
//! | [`findings`] | kinds of findings, changes between runs, reviews |
//! | [`model`] | exported networks: reading, graph arithmetic, running on libtorch |
//! | [`dataset`] | the user's data: images, metadata, boxes |
//! | [`store`] | run folder, manifest, keys, lock, parts, SQL |
//! | [`common`] | the error type, text that is safe to print |
//!
//! Algorithms neither read files nor print. Stages are the glue.
//!
//! A part (some images, or one layer) is the unit of work and of resuming. It is written under a temporary name,
//! synced, renamed, and then listed in the manifest; files that the manifest does not list are ignored. A stage's key is a
//! hash of its name, version, checked parameters and the keys of its dependencies. Under the same key a run resumes at the
//! first missing part; under another, the stage and its dependents run again. If only the images differ, `scan` and
//! `extract` reuse the rows of images with known content.
//!
//! A new stage is one folder in `stages/` and two lines in `stages/lib.rs`; a new kind of finding is one declaration in
//! [`findings::Kind`].

pub use prospect_analysis as analysis;
pub use prospect_cli as cli;
pub use prospect_common as common;
pub use prospect_config as config;
pub use prospect_dataset as dataset;
pub use prospect_engine as engine;
pub use prospect_findings as findings;
pub use prospect_model as model;
pub use prospect_output as output;
pub use prospect_queries as queries;
pub use prospect_stages as stages;
pub use prospect_store as store;
