//! The class of every image: its label, or what the network takes it for.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_store::Manifest;

use super::columns::{Columns, integer, text};
use crate::Context;

/// The class of every image.
pub struct Groups {
    /// What the names are: "label", or "predicted class" in a dataset without labels.
    pub by: &'static str,
    pub names: Vec<String>,
    /// By image id: index into `names`.
    pub of: HashMap<u32, usize>,
}

impl Groups {
    /// By label; by prediction where no image has one.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Groups> {
        let mut groups = Groups {
            by: "label",
            names: Vec::new(),
            of: HashMap::new(),
        };
        let mut known = HashMap::new();
        let names = ["image_id", "label", "label_name"];
        for batch in ctx.run.read(manifest, "images").columns(&names) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let (labels, names) = (columns.integers("label")?, columns.texts("label_name")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if let Some(label) = integer(&labels, row) {
                    let group = *known.entry(label).or_insert_with(|| {
                        let name = text(&names, row).map(str::to_string);
                        groups
                            .names
                            .push(name.unwrap_or_else(|| format!("label {label}")));
                        groups.names.len() - 1
                    });
                    groups.of.insert(id, group);
                }
            }
        }
        if groups.of.is_empty() {
            groups.by = "predicted class";
            groups.read_predictions(ctx, manifest)?;
        }
        Ok(groups)
    }

    fn read_predictions(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        let mut class_names = HashMap::new();
        for batch in ctx.run.read(manifest, "classes").only("source", "model") {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "classes", &batch);
            let (classes, names) = (columns.integers("class")?, columns.texts("name")?);
            for row in 0..batch.num_rows() {
                if let (Some(class), Some(name)) = (integer(&classes, row), text(&names, row)) {
                    class_names.insert(class, name.to_string());
                }
            }
        }
        let mut known = HashMap::new();
        let names = ["image_id", "pred"];
        for batch in ctx.run.read(manifest, "predictions").columns(&names) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "predictions", &batch);
            let predicted = columns.integers("pred")?;
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if let Some(class) = integer(&predicted, row) {
                    let group = *known.entry(class).or_insert_with(|| {
                        let name = class_names.get(&class).cloned();
                        self.names
                            .push(name.unwrap_or_else(|| format!("class {class}")));
                        self.names.len() - 1
                    });
                    self.of.insert(id, group);
                }
            }
        }
        Ok(())
    }

    /// The class of an image.
    pub fn name(&self, image_id: u32) -> Option<&str> {
        self.of.get(&image_id).map(|&group| &*self.names[group])
    }
}
