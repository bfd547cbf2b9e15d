//! What explaining needs to know of every image.

use prospect_analysis::units::localisation::{Localisation, localisation};
use prospect_common::{
    Result,
    text::{count, escaped},
};
use prospect_dataset::{
    boxes::Boxes,
    image::{Geometry, Header, InputSpec},
};
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, text},
};
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
        let mut images = Images {
            labels: Vec::new(),
            headers: Vec::new(),
            boxes: Vec::new(),
            spec: spec.clone(),
        };
        let names = [
            "image_id",
            "path",
            "width",
            "height",
            "orientation",
            "label_name",
        ];
        let mut paths = Vec::new();
        for batch in ctx.run.read(manifest, "images").columns(&names) {
            let batch = batch?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let labels = columns.texts("label_name")?;
            paths.push(columns.texts("path")?);
            let [width, height, orientation] =
                ["width", "height", "orientation"].map(|name| columns.integers(name));
            let (width, height, orientation) = (width?, height?, orientation?);
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if id as usize != images.labels.len() {
                    return Err(columns.unexpected("image ids without gaps", format!("id {id}")));
                }
                let label = text(&labels, row).and_then(|name| classes.get(name));
                images.labels.push(label.copied());
                let side = |array| integer(array, row).and_then(|n| u32::try_from(n).ok());
                let orientation = integer(&orientation, row).filter(|n| (1..=8).contains(n));
                images.headers.push(Header {
                    format: "",
                    width: side(&width).unwrap_or(0),
                    height: side(&height).unwrap_or(0),
                    orientation: orientation.unwrap_or(1) as u8,
                });
                images.boxes.push(Vec::new());
            }
        }
        if let Some(boxes) = ctx.config.boxes()? {
            let paths = paths.iter().flat_map(|paths| paths.iter().flatten());
            images.take_boxes(&boxes, &paths.collect::<Vec<_>>())?;
        }
        Ok(images)
    }

    fn take_boxes(&mut self, boxes: &Boxes, paths: &[&str]) -> Result<()> {
        let sizes = self.headers.iter().map(|header| {
            let size = header.upright_size();
            (size.0 > 0 && size.1 > 0).then_some(size)
        });
        let mut fitted = boxes.fit(paths.iter().copied().zip(sizes))?;
        for (boxes, path) in self.boxes.iter_mut().zip(paths) {
            *boxes = fitted.by_image.remove(*path).unwrap_or_default();
        }
        if let Some(example) = fitted.unknown.first() {
            tracing::warn!(
                "boxes: {} file(s) are no images of this run, for example {}",
                count(fitted.unknown.len() as u64),
                escaped(example)
            );
        }
        Ok(())
    }

    pub fn label(&self, image: u32) -> Option<usize> {
        self.labels.get(image as usize).copied().flatten()
    }

    /// How a map lies to the image's boxes; `None` without boxes, or without energy.
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
