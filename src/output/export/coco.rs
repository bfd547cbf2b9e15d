//! COCO: `annotations.json`, and the probe's predictions in the results format as `predictions.json`.

use std::fs;

use prospect_common::{Error, Result, text::count};
use serde_json::{Value, json};

use super::{
    Folder, Outline, Record, Summary, Writer, folder::Output, record::kinds, writer::literal,
};

const NAME: &str = "annotations.json";
const PREDICTIONS: &str = "predictions.json";
/// Holds the annotations until all images are written.
const SPOOL: &str = "annotations.spool";

/// Image ids are Prospect's; category ids are the dataset's classes plus 1; annotation ids count from 1, as COCO's evaluation
/// treats 0 as no annotation.
pub(super) struct Coco {
    images: Output,
    annotations: Output,
    predictions: Output,
    rows: u64,
    n_annotations: u64,
    n_predictions: u64,
    n_boxes: u64,
    outline: Outline,
}

impl Coco {
    pub fn new(folder: &Folder, outline: Outline) -> Result<Coco> {
        let mut images = folder.create(NAME)?;
        let info = json!({
            "description": "written by Prospect; file_name is relative to the image folder",
            "version": env!("CARGO_PKG_VERSION"),
        });
        let categories: Vec<Value> = (1..)
            .zip(&outline.classes)
            .map(|(id, name)| json!({"id": id, "name": name, "supercategory": ""}))
            .collect();
        images.bytes(b"{\"info\": ")?;
        images.json(&info)?;
        images.bytes(b",\n\"licenses\": [],\n\"categories\": ")?;
        images.json(&categories)?;
        images.bytes(b",\n\"images\": [")?;
        let mut predictions = folder.create(PREDICTIONS)?;
        predictions.bytes(b"[")?;
        Ok(Coco {
            images,
            annotations: folder.create(SPOOL)?,
            predictions,
            rows: 0,
            n_annotations: 0,
            n_predictions: 0,
            n_boxes: 0,
            outline,
        })
    }
}

/// Appends a list element on its own line.
fn element(output: &mut Output, at: u64, value: &Value) -> Result<()> {
    output.bytes(if at == 0 { b"\n" } else { b",\n" })?;
    output.json(value)
}

impl Writer for Coco {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        let [width, height] = record.size.map(f64::from);
        let image = json!({
            "id": record.image_id,
            "file_name": record.path,
            "width": record.size[0],
            "height": record.size[1],
            "split": record.split,
            "label_score": record.label_score,
            "suggested_category_id": record.suggested.map(|class| class + 1),
            "findings": kinds(&record),
        });
        element(&mut self.images, self.rows, &image)?;
        self.rows += 1;
        let whole = [0.0, 0.0, width, height];
        if let Some(label) = record.label {
            self.n_boxes += record.boxes.len() as u64;
            let boxes = match record.boxes.is_empty() {
                true => &[whole][..],
                false => &record.boxes,
            };
            for [x0, y0, x1, y1] in boxes {
                let annotation = json!({
                    "id": self.n_annotations + 1,
                    "image_id": record.image_id,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "segmentation": [],
                });
                element(&mut self.annotations, self.n_annotations, &annotation)?;
                self.n_annotations += 1;
            }
        }
        if let Some(probe) = &record.probe {
            let prediction = json!({
                "image_id": record.image_id,
                "category_id": probe.class + 1,
                "bbox": whole,
                "score": probe.confidence,
            });
            element(&mut self.predictions, self.n_predictions, &prediction)?;
            self.n_predictions += 1;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.annotations.finish()?;
        self.images.bytes(b"\n],\n\"annotations\": [")?;
        let spool = folder.path(SPOOL)?;
        let mut file = fs::File::open(&spool).map_err(Error::io(&spool, "opening"))?;
        std::io::copy(&mut file, &mut self.images).map_err(Error::io(&spool, "copying"))?;
        fs::remove_file(&spool).map_err(Error::io(&spool, "removing"))?;
        self.images.bytes(b"\n]}\n")?;
        self.images.finish()?;
        self.predictions.bytes(b"\n]\n")?;
        self.predictions.finish()?;
        let mut remarks = vec![format!(
            "{} annotations, {} of them object bounding boxes; file_name is relative to {}",
            count(self.n_annotations),
            count(self.n_boxes),
            self.outline.images.display()
        )];
        if self.n_predictions > 0 {
            let path = literal(&folder.target().join(PREDICTIONS));
            remarks.push(format!("the probe's predictions: coco.loadRes({path})"));
        }
        Ok(Summary {
            rows: self.rows,
            open: format!(
                "pycocotools.coco.COCO({})",
                literal(&folder.target().join(NAME))
            ),
            remarks,
        })
    }
}
