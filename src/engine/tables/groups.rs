//! The class of every image: its label, or its predicted class.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_store::Manifest;

use super::classes::{ClassNames, name_of};
use crate::{
    Context,
    schema::{images, predictions},
};

/// The class of every image.
pub struct Groups {
    /// Meaning of the names: "label", or "predicted class" in a dataset without labels.
    pub by: &'static str,
    pub names: Vec<String>,
    /// By image id: index into `names`.
    pub of: HashMap<u32, usize>,
}

impl Groups {
    /// By label; by prediction if no image has a label.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Groups> {
        let mut groups = Groups {
            by: "label",
            names: Vec::new(),
            of: HashMap::new(),
        };
        let mut known = HashMap::new();
        let columns = (images::image_id, images::label, images::label_name);
        for batch in ctx.run.rows(manifest, columns) {
            for (id, label, name) in batch?.iter() {
                if let Some(label) = label {
                    let group = *known.entry(label).or_insert_with(|| {
                        let name = name.map(str::to_string);
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
        let class_names = ClassNames::read(ctx.run, manifest)?.network;
        let mut known = HashMap::new();
        let columns = (predictions::image_id, predictions::pred);
        for batch in ctx.run.rows(manifest, columns) {
            for (id, class) in batch?.iter() {
                let group = *known.entry(class).or_insert_with(|| {
                    self.names.push(name_of(&class_names, class));
                    self.names.len() - 1
                });
                self.of.insert(id, group);
            }
        }
        Ok(())
    }

    /// The class of an image.
    pub fn name(&self, image_id: u32) -> Option<&str> {
        self.of.get(&image_id).map(|&group| &*self.names[group])
    }
}
