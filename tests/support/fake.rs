//! A run with handwritten tables of `scan` and `extract`.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float16Array, Float32Array, Int16Array, Int32Array, Int64Array, ListArray,
        RecordBatch, StringArray, UInt16Array, UInt32Array,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Float16Type, UInt16Type},
};
use half::f16;
use prospect_common::Result;
use prospect_config::Config;
use prospect_engine::{Context, Stage};
use prospect_output::picture::{self, Picture};
use prospect_store::{Manifest, RunFolder};
use serde_json::{Value, json};

use crate::{Project, add_tables, begin_with, run_stage};

/// The run's folder in the project.
const RUN: &str = "run";

/// An image of the fake dataset: its file and its rows.
pub struct FakeImage {
    pub path: String,
    pub label: Option<(i32, String)>,
    pub error: Option<String>,
    /// `None` for a missing file.
    pub picture: Option<Picture>,
}

/// A layer and its columns of `units`; `max` and `argmax` are `[n_images, channels]`.
pub struct FakeLayer {
    pub name: String,
    pub channels: i32,
    pub height: i32,
    pub width: i32,
    /// Size, stride and start, the same in y and x.
    pub field: Option<[i32; 3]>,
    pub max: Vec<f32>,
    pub argmax: Vec<u16>,
}

/// A dataset, and the tables that `scan` and `extract` would write.
pub struct Fake {
    pub project: Project,
    pub images: Vec<FakeImage>,
    pub layers: Vec<FakeLayer>,
    /// The network's class names.
    pub network_classes: Vec<String>,
    /// Predicted class of each readable image, and the probability of its label, if it is a class of the network.
    pub predictions: Vec<(i32, Option<f32>)>,
    /// Images per part of `extract`.
    pub part_size: usize,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            project: Project::new("[images]\ndir = \"images\"\n"),
            images: Vec::new(),
            layers: Vec::new(),
            network_classes: Vec::new(),
            predictions: Vec::new(),
            part_size: 100,
        }
    }
}

impl Fake {
    pub fn image_dir(&self) -> PathBuf {
        self.project.path("images")
    }

    pub fn run(&self) -> RunFolder {
        self.project.run(RUN)
    }

    pub fn config(&self, set: &[&str]) -> Config {
        self.project.config(RUN, set)
    }

    /// Writes the image files and the tables of `scan` and `extract`. The network's input is the image itself.
    pub fn write(&self) {
        for image in &self.images {
            if let Some(picture) = &image.picture {
                let path = format!("images/{}", image.path);
                self.project.write(&path, picture::png(picture).unwrap());
            }
        }
        let run = self.run();
        let scan = [
            ("images", self.images_table()),
            ("classes", self.classes_table()),
        ];
        add_tables(&run, "scan", &scan);

        let lock = run.lock("test").unwrap();
        let input = json!({
            "resize": "none", "crop": null, "interpolation": "bilinear",
            "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
        });
        let extract = begin_with(&run, &lock, "extract", json!({ "input": input }));
        let readable: Vec<usize> = (0..self.images.len())
            .filter(|&id| self.images[id].error.is_none())
            .collect();
        for (number, ids) in readable.chunks(self.part_size).enumerate() {
            let mut part = extract.part(number).unwrap();
            for layer in &self.layers {
                part.write("units", &units_table(layer, ids)).unwrap();
            }
            let predictions = &self.predictions[number * self.part_size..][..ids.len()];
            part.write("predictions", &predictions_table(ids, predictions))
                .unwrap();
            if number == 0 {
                part.write("layers", &self.layers_table()).unwrap();
            }
            extract.commit(part).unwrap();
        }
        let summary = json!({
            "images_per_second": 41.5, "bottleneck": "forward", "busy": { "forward": 0.97 },
            "network": "tiny.pt2", "device": "CPU", "seconds": 12.2,
        });
        extract.finish(None, summary).unwrap();
    }

    /// Calls `act` with the run's context.
    pub fn with<T>(&self, set: &[&str], act: impl FnOnce(&Context) -> T) -> T {
        self.project.with(RUN, set, act)
    }

    /// Calls `act` with the run's context and manifest.
    pub fn read<T>(&self, set: &[&str], act: impl FnOnce(&Context, &Manifest) -> T) -> T {
        self.with(set, |ctx| act(ctx, &ctx.run.manifest().unwrap()))
    }

    /// Runs one stage by [`run_stage`].
    pub fn run_stage(&self, stage: &Stage, set: &[&str]) -> Result<Value> {
        self.with(set, |ctx| run_stage(ctx, stage))
    }

    fn images_table(&self) -> RecordBatch {
        let images = &self.images;
        let digest = |image: &FakeImage| {
            let bytes = fs::read(self.image_dir().join(&image.path)).unwrap_or_default();
            blake3::hash(&bytes).to_hex().to_string()
        };
        let side = |of: fn(&Picture) -> u32| -> ArrayRef {
            let sides = images.iter().map(|image| {
                let picture = image.picture.as_ref().filter(|_| image.error.is_none());
                picture.map(|picture| of(picture) as i32)
            });
            Arc::new(Int32Array::from_iter(sides))
        };
        let texts = |of: &dyn Fn(&FakeImage) -> Option<String>| -> ArrayRef {
            Arc::new(StringArray::from_iter(images.iter().map(of)))
        };
        let labels = images
            .iter()
            .map(|image| image.label.as_ref().map(|label| label.0));
        let unmeasured = || Arc::new(Float32Array::new_null(images.len())) as ArrayRef;
        batch(vec![
            (
                "image_id",
                Arc::new(UInt32Array::from_iter_values(0..images.len() as u32)),
                false,
            ),
            ("path", texts(&|image| Some(image.path.clone())), false),
            ("digest", texts(&|image| Some(digest(image))), false),
            ("width", side(|picture| picture.width), true),
            ("height", side(|picture| picture.height), true),
            (
                "orientation",
                Arc::new(Int16Array::from(vec![1; images.len()])),
                true,
            ),
            ("label", Arc::new(Int32Array::from_iter(labels)), true),
            (
                "label_name",
                texts(&|image| Some(image.label.as_ref()?.1.clone())),
                true,
            ),
            ("split", texts(&|_| None), true),
            ("error", texts(&|image| image.error.clone()), true),
            ("warmth", unmeasured(), true),
            ("tint", unmeasured(), true),
        ])
    }

    fn classes_table(&self) -> RecordBatch {
        let dataset: BTreeMap<i32, &str> = self
            .images
            .iter()
            .filter_map(|image| Some((image.label.as_ref()?.0, &*image.label.as_ref()?.1)))
            .collect();
        let network = (0..)
            .zip(&self.network_classes)
            .map(|(class, name)| (class, name.as_str(), "model"));
        let all: Vec<(i32, &str, &str)> = dataset
            .into_iter()
            .map(|(class, name)| (class, name, "dataset"))
            .chain(network)
            .collect();
        batch(vec![
            (
                "class",
                Arc::new(Int32Array::from_iter_values(all.iter().map(|c| c.0))),
                false,
            ),
            (
                "name",
                Arc::new(StringArray::from_iter_values(all.iter().map(|c| c.1))),
                false,
            ),
            (
                "source",
                Arc::new(StringArray::from_iter_values(all.iter().map(|c| c.2))),
                false,
            ),
        ])
    }

    fn layers_table(&self) -> RecordBatch {
        let layers = &self.layers;
        let names = layers.iter().map(|layer| layer.name.as_str());
        let integers = |of: fn(&FakeLayer) -> i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(layers.iter().map(of)))
        };
        let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
            (
                "layer",
                Arc::new(StringArray::from_iter_values(names)),
                false,
            ),
            (
                "op",
                Arc::new(StringArray::from(vec!["ReLU"; layers.len()])),
                false,
            ),
            ("channels", integers(|layer| layer.channels), false),
            ("height", integers(|layer| layer.height), false),
            ("width", integers(|layer| layer.width), false),
        ];
        let fields = [
            "rf_size_y",
            "rf_size_x",
            "rf_stride_y",
            "rf_stride_x",
            "rf_start_y",
            "rf_start_x",
        ];
        for (index, name) in fields.into_iter().enumerate() {
            let values = layers.iter().map(|layer| Some(layer.field?[index / 2]));
            columns.push((name, Arc::new(Int32Array::from_iter(values)), true));
        }
        columns.push((
            "parameters",
            Arc::new(Int64Array::from(vec![0; layers.len()])),
            false,
        ));
        batch(columns)
    }
}

fn units_table(layer: &FakeLayer, ids: &[usize]) -> RecordBatch {
    let channels = layer.channels as usize;
    let cells = |id: &usize| id * channels..(id + 1) * channels;
    let max = ids
        .iter()
        .flat_map(|id| &layer.max[cells(id)])
        .map(|&v| f16::from_f32(v));
    let argmax = ids.iter().flat_map(|id| &layer.argmax[cells(id)]).copied();
    let lists = |values: ArrayRef, kind: DataType| -> ArrayRef {
        let field = Arc::new(Field::new("item", kind, false));
        Arc::new(ListArray::new(
            field,
            OffsetBuffer::from_repeated_length(channels, ids.len()),
            values,
            None,
        ))
    };
    let max = Arc::new(Float16Array::from_iter_values(max));
    let argmax = UInt16Array::from_iter_values(argmax);
    let names = vec![layer.name.as_str(); ids.len()];
    let ids = ids.iter().map(|&id| id as u32);
    use arrow::datatypes::ArrowPrimitiveType;
    batch(vec![
        ("layer", Arc::new(StringArray::from(names)), false),
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(ids)),
            false,
        ),
        ("max", lists(max.clone(), Float16Type::DATA_TYPE), false),
        ("mean", lists(max, Float16Type::DATA_TYPE), false),
        (
            "argmax",
            lists(Arc::new(argmax), UInt16Type::DATA_TYPE),
            false,
        ),
    ])
}

fn predictions_table(ids: &[usize], predictions: &[(i32, Option<f32>)]) -> RecordBatch {
    let ids = ids.iter().map(|&id| id as u32);
    let predicted = predictions.iter().map(|p| p.0);
    let label = predictions.iter().map(|p| p.1);
    batch(vec![
        (
            "image_id",
            Arc::new(UInt32Array::from_iter_values(ids)),
            false,
        ),
        (
            "pred",
            Arc::new(Int32Array::from_iter_values(predicted)),
            false,
        ),
        (
            "p_pred",
            Arc::new(Float32Array::from_iter_values(
                label.clone().map(|p| p.unwrap_or(0.5)),
            )),
            false,
        ),
        (
            "loss",
            Arc::new(Float32Array::from_iter(
                label.clone().map(|p| p.map(|p| -p.ln())),
            )),
            true,
        ),
        ("p_label", Arc::new(Float32Array::from_iter(label)), true),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef, bool)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
