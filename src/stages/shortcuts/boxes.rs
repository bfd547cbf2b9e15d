//! Activations outside the annotated object boxes.

use std::collections::HashMap;

use prospect_common::Result;
use prospect_dataset::image::{Geometry, Header, InputSpec};
use prospect_engine::{Context, schema::images, tables::layers::input_spec};
use prospect_store::Manifest;

/// The images with boxes.
pub struct ObjectBoxes {
    spec: InputSpec,
    /// Boxes `x0, y0, x1, y1` in pixels of the upright file, by image id.
    by_image: HashMap<u32, (Header, Vec<[f64; 4]>)>,
}

impl ObjectBoxes {
    /// `None` without annotated boxes.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Option<ObjectBoxes>> {
        let Some(boxes) = ctx.config.boxes()? else {
            return Ok(None);
        };
        let mut listed: Vec<(u32, String, Header)> = Vec::new();
        let columns = (
            images::image_id,
            images::path,
            images::width,
            images::height,
            images::orientation,
        );
        for batch in ctx.run.rows(manifest, columns) {
            for (id, path, width, height, orientation) in batch?.iter() {
                let header = Header::stored(width, height, orientation);
                listed.push((id, path.to_string(), header));
            }
        }
        let sized = (listed.iter()).map(|(_, path, header)| (path.as_str(), header.known_size()));
        let mut fitted = boxes.fit(sized, &ctx.config.images.dir)?.by_image;
        let by_image = listed.into_iter().filter_map(|(id, path, header)| {
            let boxes = fitted.remove(&path).filter(|boxes| !boxes.is_empty())?;
            Some((id, (header, boxes)))
        });
        Ok(Some(ObjectBoxes {
            spec: input_spec(manifest)?,
            by_image: by_image.collect(),
        }))
    }

    /// Fraction of points (image; x and y in 0..=1 of the network's input) outside all boxes, over images with boxes.
    pub fn share_outside(&self, points: impl Iterator<Item = (u32, [f64; 2])>) -> Option<f64> {
        let (mut outside, mut all) = (0_u32, 0_u32);
        for (image, [x, y]) in points {
            let Some((header, boxes)) = self.by_image.get(&image) else {
                continue;
            };
            let geometry = Geometry::new(header, &self.spec);
            let (height, width) = geometry.input_size();
            let (x, y) = (x * f64::from(width), y * f64::from(height));
            let ([x, y, _, _], is_padding) = geometry.upright_edges([x, y, x, y]);
            let contains =
                |[x0, y0, x1, y1]: &[f64; 4]| *x0 <= x && x <= *x1 && *y0 <= y && y <= *y1;
            all += 1;
            outside += u32::from(is_padding || !boxes.iter().any(contains));
        }
        (all > 0).then(|| f64::from(outside) / f64::from(all))
    }
}
