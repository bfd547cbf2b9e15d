//! The stages before the audit.

use prospect_engine::Stage;

use super::{
    backprop, confusion, duplicates, explain, extract, labels, neighbors, outliers, patches, probe,
    project, scan, shortcuts,
};

/// The stages that look at images, in run order. The audit and the report gather their results.
pub const EARLIER: &[Stage] = &[
    scan::STAGE,
    extract::STAGE,
    patches::STAGE,
    neighbors::STAGE,
    project::STAGE,
    confusion::STAGE,
    backprop::STAGE,
    explain::STAGE,
    duplicates::STAGE,
    probe::STAGE,
    labels::STAGE,
    outliers::STAGE,
    shortcuts::STAGE,
];
