//! Declarations of the tables that several stages read. A table that only its own stage reads is declared in that stage.

use prospect_store::declare::Table;

mod activations;
mod audit;
mod dataset;
mod network;
mod probing;
mod saliency;
mod space;

pub use activations::{patches, unit_gradients, unit_stats};
pub use audit::{
    associations, changes, confident_joint, duplicates, groups, issues, label_calibration,
    label_scores, outliers, shortcuts,
};
pub use dataset::{classes, images, label_votes};
pub use network::{extracted, features, layers, maps, predictions, units};
pub use probing::{probe, probe_calibration, probe_classes, probe_quality, probe_weights};
pub use saliency::{cams, explanations};
pub use space::{
    class_neighbors, class_overlap, confusion, neighbor_stats, neighbors, pca_components,
    projection, projection_quality,
};

/// A Markdown table that documents `tables`, one row each.
pub fn reference<'t>(tables: impl Iterator<Item = &'t Table>) -> String {
    let mut page = "| table | one row per | content and columns |\n|---|---|---|\n".to_string();
    for table in tables {
        let columns = table.columns.iter().map(|column| match column.doc.trim() {
            "" => format!("`{}`", column.name),
            doc => format!("`{}` ({doc})", column.name),
        });
        let columns: Vec<String> = columns.collect();
        page += &format!(
            "| `{}` | {} | {} {} |\n",
            table.name,
            table.row,
            table.doc.trim(),
            columns.join(", ")
        );
    }
    page
}
