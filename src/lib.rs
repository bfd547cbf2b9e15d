//! Prospect mines a whole image dataset through the eyes of a trained network.
//!
//! # Architecture
//!
//! ```text
//! images ──scan──▶ images ──extract──▶ predictions, features, units, maps ──patches──▶ patches ──report──▶ pages
//! ```
//!
//! Only `extract` touches every pixel and runs the network; every stage after it reads tables. A run folder holds
//! Parquet tables, pictures and a manifest, which alone says what is complete and under which key.
//!
//! | module | what it is | knows |
//! |---|---|---|
//! | [`listing`], [`metadata`], [`boxes`], [`user_table`] | the image files of a folder; what the user's tables say about them | files |
//! | [`image`] | decoding, preprocessing, geometry, quality measures | pixels |
//! | [`model`] | exported networks: reading, graph arithmetic, running | tch |
//! | [`topk`], [`unit_stats`], [`effective_field`], [`saliency`], [`localisation`], [`picture`] | the best images of every unit; where a cell looked; what a heat map says, also about boxes; pictures | numbers and pixels |
//! | [`linalg`] | dense linear algebra | tch |
//! | [`neighbors`] | nearest neighbours, exactly or by an index | numbers |
//! | [`projection`] | maps in the plane: principal components, t-SNE, UMAP; what they keep of the neighbourhoods | numbers |
//! | [`confusion`] | which class is taken for which | numbers |
//! | [`label_issues`] | which labels are wrong, and what a review of them would find | numbers |
//! | [`association`], [`binning`], [`groups`] | what attributes tell about labels; accuracy by group | numbers |
//! | [`shortcuts`] | units that fire for a mark of one class, and what a classifier makes of it | numbers |
//! | [`audits`] | questions with names and parameters, in SQL | text |
//! | [`findings`], [`changes`], [`review`] | the contract of findings; what is different between two runs'; what people decided | numbers, a CSV |
//! | [`export`] | a run's findings in the formats of other tools | files |
//! | [`store`] | run folder, manifest, keys, lock, parts, queries | Parquet, polars |
//! | [`stages`] | the registry of stages, planning and running them, and the stages themselves | all of the above |
//! | [`config`], [`progress`], [`error`], [`text`] | settings, bars and the stop flag, errors, safe printing | |
//! | [`init`] | the first configuration of a dataset | all of the above |
//! | [`cli`] | the command line; the only place that prints | |
//!
//! Algorithms take slices or tensors and return values: they neither read files nor print. Stages are the glue.
//!
//! A part (some images, or one layer) is the unit of work and of resuming. It is written under a temporary name,
//! synced, renamed, and then named in the manifest; a file that the manifest does not name does not exist. A stage's
//! key is a hash of its name, version, checked parameters and the keys of what it needs: with the same key a run goes
//! on at the first missing part, with another the stage and what depends on it are done anew. Where only the images are
//! others, `scan` and `extract` take over the rows of those whose content they know.
//!
//! A stage is added with one file in `stages/` and one line in [`stages::STAGES`].

pub mod association;
pub mod audits;
pub mod bad_photos;
pub mod binning;
pub mod boxes;
pub mod changes;
pub mod cli;
pub mod config;
pub mod confusion;
pub mod duplicates;
pub mod effective_field;
pub mod error;
pub mod export;
pub mod findings;
pub mod folds;
pub mod groups;
pub mod image;
pub mod init;
pub mod label_issues;
pub mod linalg;
pub mod listing;
pub mod localisation;
pub mod metadata;
pub mod model;
pub mod neighbors;
pub mod outliers;
pub mod picture;
pub mod progress;
pub mod projection;
pub mod review;
pub mod saliency;
pub mod shortcuts;
pub mod stages;
pub mod store;
pub mod text;
pub mod topk;
pub mod unit_stats;
pub mod user_table;
