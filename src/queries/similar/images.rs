//! Paths, labels and predictions of selected images.

use std::collections::{HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    Context,
    tables::{
        classes::{ClassNames, name_of, predictions},
        files::files,
    },
};
use prospect_store::Manifest;
use serde::Serialize;

/// An image's path, label and prediction.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ImageInfo {
    /// `None` for a file outside the run.
    pub image_id: Option<u32>,
    /// Relative to the image folder; for other files as given.
    pub path: String,
    pub label: Option<String>,
    /// Predicted by the network.
    pub predicted: Option<String>,
}

/// Images by id.
pub struct Images(HashMap<u32, ImageInfo>);

impl Images {
    /// Reads paths, labels and predictions of the wanted images.
    pub fn read(ctx: &Context, manifest: &Manifest, wanted: HashSet<u32>) -> Result<Images> {
        let files = files(ctx.run, manifest, |id, _| wanted.contains(&id))?;
        let classes = ClassNames::read(ctx.run, manifest)?.network;
        let predictions = predictions(ctx.run, manifest)?;
        let images = files.into_values().map(|file| {
            let predicted = predictions.get(&file.image_id);
            let image = ImageInfo {
                image_id: Some(file.image_id),
                path: file.path,
                label: file.label,
                predicted: predicted.map(|class| name_of(&classes, *class)),
            };
            (file.image_id, image)
        });
        Ok(Images(images.collect()))
    }

    pub fn get(&self, image_id: u32) -> ImageInfo {
        let unknown = || ImageInfo {
            image_id: Some(image_id),
            ..ImageInfo::default()
        };
        self.0.get(&image_id).cloned().unwrap_or_else(unknown)
    }
}
