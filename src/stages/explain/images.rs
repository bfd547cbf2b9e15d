//! Labels, headers and object boxes of the images.

use std::path::Path;

use prospect_analysis::units::localisation::{Localisation, localisation};
use prospect_common::{
    Result,
    text::{count, escaped},
};
use prospect_dataset::{
    boxes::Boxes,
    image::{Geometry, Header, InputSpec},
};
use prospect_engine::{Context, schema::images};
use prospect_model::ModelInfo;
use prospect_store::Manifest;

/// Indexed by image id.
pub struct Images {
    /// The network's class of each label.
    labels: Vec<Option<usize>>,
    headers: Vec<Header>,
    /// `x0, y0, x1, y1` in pixels of the upright file.
    boxes: Vec<Vec<[f64; 4]>>,
    spec: InputSpec,
}

impl Images {
    pub fn read(
        ctx: &Context,
        manifest: &Manifest,
        model: &ModelInfo,
        spec: &InputSpec,
    ) -> Result<Images> {
        let classes = model.class_by_name();
        let mut found = Images {
            labels: Vec::new(),
            headers: Vec::new(),
            boxes: Vec::new(),
            spec: spec.clone(),
        };
        let columns = (
            images::image_id,
            images::path,
            images::width,
            images::height,
            images::orientation,
            images::label_name,
        );
        let mut paths = Vec::new();
        for batch in ctx.run.rows(manifest, columns) {
            let batch = batch?;
            paths.push(batch.columns().1.clone());
            for (id, _, width, height, orientation, label) in batch.iter() {
                if id as usize != found.labels.len() {
                    return Err(batch.unexpected("image ids without gaps", format!("id {id}")));
                }
                let label = label.and_then(|name| classes.get(name));
                found.labels.push(label.copied());
                (found.headers).push(Header::stored(width, height, orientation));
                found.boxes.push(Vec::new());
            }
        }
        if let Some(boxes) = ctx.config.boxes()? {
            let paths = paths.iter().flat_map(|paths| paths.iter().flatten());
            found.fit_boxes(&boxes, &paths.collect::<Vec<_>>(), &ctx.config.images.dir)?;
        }
        Ok(found)
    }

    fn fit_boxes(&mut self, boxes: &Boxes, paths: &[&str], folder: &Path) -> Result<()> {
        let sizes = self.headers.iter().map(Header::known_size);
        let mut fitted = boxes.fit(paths.iter().copied().zip(sizes), folder)?;
        for (boxes, path) in self.boxes.iter_mut().zip(paths) {
            *boxes = fitted.by_image.remove(*path).unwrap_or_default();
        }
        if let Some(example) = fitted.unknown.first() {
            tracing::warn!(
                "boxes: {} file(s) are not in this run, for example {}",
                count(fitted.unknown.len() as u64),
                escaped(example)
            );
        }
        Ok(())
    }

    pub fn label(&self, image: u32) -> Option<usize> {
        self.labels.get(image as usize).copied().flatten()
    }

    /// Agreement of a map with the image's boxes; `None` without boxes or energy.
    pub fn localisation(
        &self,
        image: u32,
        map: &[f32],
        (rows, cols): (usize, usize),
    ) -> Option<Localisation> {
        let boxes = self
            .boxes
            .get(image as usize)
            .filter(|boxes| !boxes.is_empty())?;
        let geometry = Geometry::new(self.headers.get(image as usize)?, &self.spec);
        localisation(map, rows, cols, &geometry, boxes)
    }
}
