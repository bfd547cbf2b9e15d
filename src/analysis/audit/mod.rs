//! Audits of a dataset.

pub mod association;
pub mod bad_photos;
pub mod binning;
pub mod calibration;
pub mod duplicates;
pub mod folds;
pub mod groups;
pub mod label_issues;
pub mod outliers;
pub mod shortcuts;
pub mod significance;
