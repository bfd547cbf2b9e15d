//! What the tables say of a few images.

use std::collections::{HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, text},
};
use prospect_store::Manifest;
use serde::Serialize;

/// An image and what is known of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Seen {
    /// `None`: a file that is not of the run.
    pub image_id: Option<u32>,
    /// In the image folder; of another file as it was given.
    pub path: String,
    pub label: Option<String>,
    /// The network's class.
    pub predicted: Option<String>,
}

/// Images by id.
pub struct Names(HashMap<u32, Seen>);

impl Names {
    /// Reads paths, labels and predictions of the wanted images.
    pub fn read(ctx: &Context, manifest: &Manifest, wanted: HashSet<u32>) -> Result<Names> {
        let mut found = HashMap::new();
        let columns = ["image_id", "path", "label_name"];
        for batch in ctx.run.read(manifest, "images").columns(&columns) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let (paths, labels) = (columns.texts("path")?, columns.texts("label_name")?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if wanted.contains(&id) {
                    let seen = Seen {
                        image_id: Some(id),
                        path: text(&paths, row).unwrap_or_default().to_string(),
                        label: text(&labels, row).map(str::to_string),
                        predicted: None,
                    };
                    found.insert(id, seen);
                }
            }
        }
        let classes = network_classes(ctx, manifest)?;
        for batch in (ctx.run.read(manifest, "predictions")).columns(&["image_id", "pred"]) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "predictions", &batch);
            let predicted = columns.integers("pred")?;
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if let Some(seen) = found.get_mut(&id) {
                    seen.predicted = integer(&predicted, row).map(|class| {
                        let name = classes.get(&class).cloned();
                        name.unwrap_or_else(|| format!("class {class}"))
                    });
                }
            }
        }
        Ok(Names(found))
    }

    pub fn seen(&self, image_id: u32) -> Seen {
        let unknown = || Seen {
            image_id: Some(image_id),
            ..Seen::default()
        };
        self.0.get(&image_id).cloned().unwrap_or_else(unknown)
    }
}

/// Names of the network's classes, where it names them.
fn network_classes(ctx: &Context, manifest: &Manifest) -> Result<HashMap<i64, String>> {
    let mut names = HashMap::new();
    for batch in ctx.run.read(manifest, "classes").only("source", "model") {
        let batch = batch?;
        let columns = Columns::of(ctx.run, "classes", &batch);
        let (classes, texts) = (columns.integers("class")?, columns.texts("name")?);
        for row in 0..batch.num_rows() {
            if let (Some(class), Some(name)) = (integer(&classes, row), text(&texts, row)) {
                names.insert(class, name.to_string());
            }
        }
    }
    Ok(names)
}
