//! Tables of the stage: collects batches into the rows of a part.

use std::{collections::HashMap, iter, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Float32Array, Int32Array, ListArray, RecordBatch, StringArray,
        StructArray, UInt32Array,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
    error::ArrowError,
};
use half::f16;
use prospect_common::{Error, Result};
use prospect_engine::schema::{cams, extracted, features, layers, maps, predictions, units};
use prospect_model::{
    Layer, ModelInfo,
    forward::{Batch, Wanted},
    inspect::ReceptiveField,
};
use prospect_store::{PartWriter, declare::Lists};

use super::{
    super::explain::{self, rows::Rows},
    image_row::ImageRow,
    reuse::{LayerNames, Reused, merged},
};

/// Classes kept in `predictions.top5`.
const TOP: usize = 5;

/// Largest finite float16.
const MAX_HALF: f32 = 65504.0;

/// An activation as stored: clamped to the finite range, so that ranks stay defined.
pub fn half(value: &f32) -> f16 {
    f16::from_f32(value.clamp(-MAX_HALF, MAX_HALF))
}

/// Properties of the tables, the same for all parts.
pub struct Tables {
    layers: Vec<LayerRow>,
    /// Layers whose maps are stored.
    maps: Vec<Layer>,
    /// Name and number of cells of each layer explained inline.
    cams: Vec<(String, usize)>,
    n_classes: usize,
    feature_length: usize,
    /// Class index by unique name.
    class_by_name: HashMap<String, usize>,
}

struct LayerRow {
    name: String,
    op: String,
    shape: [i32; 3],
    field: Option<ReceptiveField>,
    parameters: i64,
}

impl Tables {
    /// `cams` lists the layers explained inline; then no maps are stored.
    pub fn new(model: &ModelInfo, wanted: &Wanted, cams: Option<Vec<(String, usize)>>) -> Tables {
        let shape = |layer: &Layer| model.graph.shape(layer.value).unwrap_or(&[]).to_vec();
        let layers = wanted
            .units
            .iter()
            .map(|layer| {
                let sizes: Vec<i32> = shape(layer)
                    .iter()
                    .skip(1)
                    .map(|size| size.unwrap_or(0) as i32)
                    .collect();
                LayerRow {
                    name: layer.name.clone(),
                    op: layer.class.clone(),
                    shape: [0, 1, 2].map(|index| sizes.get(index).copied().unwrap_or(0)),
                    field: model.receptive_field(layer.value),
                    parameters: model
                        .parameters(layer.name.split('#').next().unwrap_or(&layer.name)),
                }
            })
            .collect();
        let feature = shape(&wanted.feature);
        // [n, d], [n, tokens, d] or [n, d, rows, columns].
        let dimension = if feature.len() == 3 { 2 } else { 1 };
        Tables {
            layers,
            maps: match cams {
                Some(_) => Vec::new(),
                None => wanted.maps.clone(),
            },
            cams: cams.unwrap_or_default(),
            n_classes: model.graph.n_classes() as usize,
            feature_length: feature.get(dimension).copied().flatten().unwrap_or(0) as usize,
            class_by_name: model.class_by_name(),
        }
    }

    /// The network's class of an image's label.
    pub fn class_of(&self, row: &ImageRow) -> Option<usize> {
        self.class_by_name.get(row.label_name.as_ref()?).copied()
    }

    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    pub fn layer_names(&self) -> LayerNames<'_> {
        LayerNames {
            units: self
                .layers
                .iter()
                .map(|layer| layer.name.as_str())
                .collect(),
            maps: self.maps.iter().map(|layer| layer.name.as_str()).collect(),
            cams: self.cams.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// Rows of `extracted`.
    fn extracted<'i>(&self, images: impl Iterator<Item = &'i ImageRow>) -> Result<RecordBatch> {
        let mut images: Vec<&ImageRow> = images.collect();
        images.sort_by_key(|image| image.image_id);
        extracted::Columns {
            image_id: images.iter().map(|image| image.image_id).collect(),
            digest: images.iter().map(|image| Some(&image.digest)).collect(),
            class: (images.iter())
                .map(|image| self.class_of(image).map(|class| class as i32))
                .collect(),
        }
        .batch()
    }

    fn layer_rows(&self) -> Result<RecordBatch> {
        let rows = &self.layers;
        let size = |at: usize| rows.iter().map(|row| row.shape[at]).collect();
        let field = |of: fn(&ReceptiveField) -> i64| {
            let of = |row: &LayerRow| row.field.as_ref().map(|field| of(field) as i32);
            rows.iter().map(of).collect()
        };
        layers::Columns {
            layer: rows.iter().map(|row| Some(&row.name)).collect(),
            op: rows.iter().map(|row| Some(&row.op)).collect(),
            channels: size(0),
            height: size(1),
            width: size(2),
            rf_size_y: field(|field| field.size[0]),
            rf_size_x: field(|field| field.size[1]),
            rf_stride_y: field(|field| field.stride[0]),
            rf_stride_x: field(|field| field.stride[1]),
            rf_start_y: field(|field| field.start[0]),
            rf_start_x: field(|field| field.start[1]),
            parameters: rows.iter().map(|row| row.parameters).collect(),
        }
        .batch()
    }
}

/// The rows of one part, collected until the part is written.
pub struct PartTables<'a> {
    tables: &'a Tables,
    images: Vec<ImageRow>,
    predictions: Predictions,
    features: Vec<f32>,
    units: Vec<Units>,
    maps: Vec<Vec<f16>>,
    cams: Vec<Rows>,
}

#[derive(Default)]
struct Predictions {
    pred: Vec<i32>,
    p_pred: Vec<f32>,
    p_label: Vec<Option<f32>>,
    margin: Vec<f32>,
    entropy: Vec<f32>,
    loss: Vec<Option<f32>>,
    top_class: Vec<i32>,
    top_p: Vec<f32>,
    logits: Vec<f32>,
}

#[derive(Default)]
struct Units {
    max: Vec<f16>,
    mean: Vec<f16>,
    argmax: Vec<u16>,
}

impl<'a> PartTables<'a> {
    pub fn new(tables: &'a Tables) -> PartTables<'a> {
        PartTables {
            tables,
            images: Vec::new(),
            predictions: Predictions::default(),
            features: Vec::new(),
            units: tables.layers.iter().map(|_| Units::default()).collect(),
            maps: tables.maps.iter().map(|_| Vec::new()).collect(),
            cams: tables.cams.iter().map(|_| Rows::default()).collect(),
        }
    }

    pub fn push(&mut self, rows: Vec<ImageRow>, batch: Batch, cams: Vec<Rows>) {
        for (row, logits) in rows
            .iter()
            .zip(batch.logits.chunks_exact(self.tables.n_classes))
        {
            self.predictions.push(logits, self.tables.class_of(row));
        }
        self.images.extend(rows);
        self.features.extend(batch.features);
        for (units, batch) in self.units.iter_mut().zip(batch.units) {
            units.max.extend(batch.max.iter().map(half));
            units.mean.extend(batch.mean.iter().map(half));
            units
                .argmax
                .extend(batch.argmax.iter().map(|&place| place as u16));
        }
        for (maps, batch) in self.maps.iter_mut().zip(batch.maps) {
            maps.extend(batch.iter().map(half));
        }
        for (all, batch) in self.cams.iter_mut().zip(cams) {
            all.append(batch);
        }
    }

    /// Writes the part, including reused rows; the first part also gets the table `layers`.
    pub fn write(self, reused: Reused, part: &mut PartWriter, first: bool) -> Result<()> {
        let PartTables {
            tables,
            images,
            predictions,
            features,
            units,
            maps,
            cams,
        } = self;
        let ids = |images: &[ImageRow]| -> UInt32Array {
            images.iter().map(|image| image.image_id).collect()
        };
        let mut write = |table: &str, new: RecordBatch, reused: Vec<RecordBatch>| {
            let merged = merged(new, reused);
            part.write(
                table,
                &merged.map_err(|error| Error::internal(table, error))?,
            )
        };
        // Columns that depend on labels are computed again from the logits.
        let mut earlier = Predictions::default();
        for (image, logits) in
            (reused.images.iter()).zip(reused.logits.chunks_exact(tables.n_classes))
        {
            earlier.push(logits, tables.class_of(image));
        }
        let earlier = earlier.batch(ids(&reused.images), tables.n_classes)?;
        let extracted = tables.extracted(images.iter().chain(&reused.images))?;
        let ids = ids(&images);
        write(extracted::NAME, extracted, Vec::new())?;
        let predictions = predictions.batch(ids.clone(), tables.n_classes)?;
        write(predictions::NAME, predictions, vec![earlier])?;
        let features = features::Columns {
            image_id: ids.clone(),
            vector: Lists::new(features, tables.feature_length),
        };
        write(features::NAME, features.batch()?, reused.features)?;
        // One row group per layer: readers of one layer skip the others.
        for ((layer, units), reused) in tables.layers.iter().zip(units).zip(filled(reused.units)) {
            let length = layer.shape[0] as usize;
            let units = units::Columns {
                layer: StringArray::new_repeated(&layer.name, ids.len()),
                image_id: ids.clone(),
                max: Lists::new(units.max, length),
                mean: Lists::new(units.mean, length),
                argmax: Lists::new(units.argmax, length),
            };
            write(units::NAME, units.batch()?, reused)?;
        }
        for ((layer, map), reused) in tables.maps.iter().zip(maps).zip(filled(reused.maps)) {
            let length = map.len() / ids.len().max(1);
            let maps = maps::Columns {
                layer: StringArray::new_repeated(&layer.name, ids.len()),
                image_id: ids.clone(),
                map: Lists::new(map, length),
            };
            write(maps::NAME, maps.batch()?, reused)?;
        }
        for (((layer, cells), rows), reused) in
            tables.cams.iter().zip(cams).zip(filled(reused.cams))
        {
            let cams = explain::tables::cams(layer, *cells, rows)?;
            write(cams::NAME, cams, reused)?;
        }
        if first {
            write(layers::NAME, tables.layer_rows()?, Vec::new())?;
        }
        Ok(())
    }
}

/// The batches of each layer; empty without reused rows.
fn filled(layers: Vec<Vec<RecordBatch>>) -> impl Iterator<Item = Vec<RecordBatch>> {
    layers.into_iter().chain(iter::repeat_with(Vec::new))
}

impl Predictions {
    /// Softmax in float64. `margin` is the highest probability minus the second highest; `entropy` and
    /// `loss` (cross-entropy of the label) are in nats.
    fn push(&mut self, logits: &[f32], label: Option<usize>) {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = logits
            .iter()
            .map(|&z| f64::from(z - highest).exp())
            .collect();
        let sum: f64 = exps.iter().sum();
        let p: Vec<f64> = exps.iter().map(|e| e / sum).collect();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        let top = TOP.min(order.len());
        // Ties break by ascending class.
        let better = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
        if top < order.len() {
            order.select_nth_unstable_by(top - 1, better);
            order.truncate(top);
        }
        order.sort_by(better);
        self.pred.push(order[0] as i32);
        self.p_pred.push(p[order[0]] as f32);
        self.margin
            .push((p[order[0]] - order.get(1).map_or(0.0, |&second| p[second])) as f32);
        self.entropy.push(
            -p.iter()
                .filter(|&&p| p > 0.0)
                .map(|p| p * p.ln())
                .sum::<f64>() as f32,
        );
        self.p_label.push(label.map(|label| p[label] as f32));
        // From the logits: finite even if the probability underflows.
        self.loss
            .push(label.map(|label| (sum.ln() - f64::from(logits[label] - highest)) as f32));
        self.top_class
            .extend(order.iter().map(|&class| class as i32));
        self.top_p
            .extend(order.iter().map(|&class| p[class] as f32));
        self.logits.extend_from_slice(logits);
    }

    fn batch(self, image_id: UInt32Array, n_classes: usize) -> Result<RecordBatch> {
        let top5 = top_lists(
            self.top_class,
            self.top_p,
            TOP.min(n_classes),
            image_id.len(),
        );
        predictions::Columns {
            image_id,
            pred: self.pred.into(),
            p_pred: self.p_pred.into(),
            p_label: self.p_label.into(),
            margin: self.margin.into(),
            entropy: self.entropy.into(),
            loss: self.loss.into(),
            top5: top5.map_err(|error| Error::internal(predictions::top5.name, error))?,
            logits: Lists::new(self.logits, n_classes),
        }
        .batch()
    }
}

/// Lists of `length` structs of class and probability.
fn top_lists(
    classes: Vec<i32>,
    probabilities: Vec<f32>,
    length: usize,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let fields = Fields::from(vec![
        Field::new("class", DataType::Int32, false),
        Field::new("p", DataType::Float32, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(classes)),
        Arc::new(Float32Array::from(probabilities)),
    ];
    let values = StructArray::try_new(fields, columns, None)?;
    let item = Field::new("item", values.data_type().clone(), false);
    let offsets = OffsetBuffer::from_repeated_length(length, rows);
    let lists = ListArray::try_new(Arc::new(item), offsets, Arc::new(values), None)?;
    Ok(Arc::new(lists))
}
