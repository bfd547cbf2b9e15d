//! The tables of `extract`: schemas, and a part's rows out of batches.

use std::{collections::HashMap, iter, sync::Arc};

use arrow::{
    array::{
        ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Int32Array, Int64Array,
        RecordBatch, StringArray, StructArray, UInt16Array, UInt32Array, new_null_array,
    },
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    error::ArrowError,
};
use half::f16;
use prospect_common::{Error, Result};
use prospect_engine::tables::columns::list;
use prospect_model::{
    Layer, ModelInfo,
    forward::{Batch, Wanted},
    inspect::ReceptiveField,
};
use prospect_store::PartWriter;

use super::{
    super::explain::{self, rows::Rows},
    inline::Inline,
    pipeline::ImageRow,
    takeover::{EXTRACTED, Layers, Taken, merged},
};

/// Classes kept in `predictions.top5`.
const TOP: usize = 5;

/// Largest finite float16: a larger activation is stored as this, so that ranks stay ranks.
const MAX_HALF: f32 = 65504.0;

/// As tables hold activations: an infinite one stays comparable.
pub fn half(value: &f32) -> f16 {
    f16::from_f32(value.clamp(-MAX_HALF, MAX_HALF))
}

/// What does not change from part to part.
pub struct Tables {
    layers: Vec<LayerRow>,
    /// Layers whose maps are stored.
    maps: Vec<Layer>,
    /// Name and cells of the layers that are explained inline.
    cams: Vec<(String, usize)>,
    n_classes: usize,
    feature_length: usize,
    /// Class index by name; names that several classes share are left out.
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
    pub fn new(model: &ModelInfo, wanted: &Wanted, inline: Option<&Inline>) -> Tables {
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
            maps: inline.map_or(wanted.maps.clone(), |_| Vec::new()),
            cams: inline.map_or(Vec::new(), |inline| {
                (inline
                    .layers()
                    .map(|(name, cells)| (name.to_string(), cells)))
                .collect()
            }),
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

    /// Names of the layers that the tables with a row for each layer have.
    pub fn named(&self) -> Layers<'_> {
        Layers {
            units: self
                .layers
                .iter()
                .map(|layer| layer.name.as_str())
                .collect(),
            maps: self.maps.iter().map(|layer| layer.name.as_str()).collect(),
            cams: self.cams.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// Table `extracted` of these images: content, and the network's class of the label.
    fn extracted<'i>(&self, images: impl Iterator<Item = &'i ImageRow>) -> Result<RecordBatch> {
        let mut images: Vec<&ImageRow> = images.collect();
        images.sort_by_key(|image| image.image_id);
        let ids = images.iter().map(|image| image.image_id);
        let digests = images.iter().map(|image| image.digest.as_str());
        let classes = images.iter();
        let classes = classes.map(|image| self.class_of(image).map(|class| class as i32));
        let schema = Schema::new(vec![
            Field::new("image_id", DataType::UInt32, false),
            Field::new("digest", DataType::Utf8, false),
            Field::new("class", DataType::Int32, true),
        ]);
        record(
            Arc::new(schema),
            vec![
                Arc::new(UInt32Array::from_iter_values(ids)),
                Arc::new(StringArray::from_iter_values(digests)),
                Arc::new(Int32Array::from_iter(classes)),
            ],
        )
    }

    fn layer_rows(&self) -> Result<RecordBatch> {
        let names = ["rf_size", "rf_stride", "rf_start"];
        let mut fields = vec![
            Field::new("layer", DataType::Utf8, false),
            Field::new("op", DataType::Utf8, false),
            Field::new("channels", DataType::Int32, false),
            Field::new("height", DataType::Int32, false),
            Field::new("width", DataType::Int32, false),
        ];
        let text = |of: fn(&LayerRow) -> &str| {
            Arc::new(StringArray::from_iter_values(self.layers.iter().map(of))) as ArrayRef
        };
        let mut columns: Vec<ArrayRef> = vec![text(|layer| &layer.name), text(|layer| &layer.op)];
        for index in 0..3 {
            let sizes = self.layers.iter().map(|layer| layer.shape[index]);
            columns.push(Arc::new(Int32Array::from_iter_values(sizes)));
        }
        for (index, name) in names.iter().enumerate() {
            for (axis, letter) in ["y", "x"].iter().enumerate() {
                fields.push(Field::new(
                    format!("{name}_{letter}"),
                    DataType::Int32,
                    true,
                ));
                columns.push(Arc::new(Int32Array::from_iter(self.layers.iter().map(
                    |layer| {
                        let field = layer.field?;
                        Some([field.size, field.stride, field.start][index][axis] as i32)
                    },
                ))));
            }
        }
        fields.push(Field::new("parameters", DataType::Int64, false));
        columns.push(Arc::new(Int64Array::from_iter_values(
            self.layers.iter().map(|layer| layer.parameters),
        )));
        record(Arc::new(Schema::new(fields)), columns)
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

    /// Writes the part, with the rows that were taken from an earlier run; the first one also holds the `layers` table.
    pub fn write(self, taken: Taken, part: &mut PartWriter, first: bool) -> Result<()> {
        let PartTables {
            tables,
            images,
            predictions,
            features,
            units,
            maps,
            cams,
        } = self;
        let rows = images.len();
        let ids = |images: &[ImageRow]| -> ArrayRef {
            let ids = images.iter().map(|image| image.image_id);
            Arc::new(UInt32Array::from_iter_values(ids))
        };
        let mut write = |table: &str, new: RecordBatch, taken: Vec<RecordBatch>| {
            part.write(table, &merged(new, taken).map_err(internal)?)
        };
        // What depends on labels is computed anew from the logits.
        let mut earlier = Predictions::default();
        for (image, logits) in
            (taken.images.iter()).zip(taken.logits.chunks_exact(tables.n_classes))
        {
            earlier.push(logits, tables.class_of(image));
        }
        let earlier = earlier.record(&ids(&taken.images), tables.n_classes)?;
        let extracted = tables.extracted(images.iter().chain(&taken.images))?;
        let ids = ids(&images);
        write(EXTRACTED, extracted, Vec::new())?;
        write(
            "predictions",
            predictions.record(&ids, tables.n_classes)?,
            vec![earlier],
        )?;
        let vector = fixed_list(floats(features), tables.feature_length, rows)?;
        let schema = Schema::new(vec![
            Field::new("image_id", DataType::UInt32, false),
            Field::new("vector", vector.data_type().clone(), false),
        ]);
        write(
            "features",
            record(Arc::new(schema), vec![ids.clone(), vector])?,
            taken.features,
        )?;
        // One row group a layer: who reads one layer skips the others.
        for ((layer, units), taken) in tables.layers.iter().zip(units).zip(filled(taken.units)) {
            let length = layer.shape[0] as usize;
            let max = list(Arc::new(Float16Array::from(units.max)), length, rows);
            let mean = list(Arc::new(Float16Array::from(units.mean)), length, rows);
            let argmax = list(Arc::new(UInt16Array::from(units.argmax)), length, rows);
            let columns = [("max", max), ("mean", mean), ("argmax", argmax)];
            write("units", by_layer(&layer.name, &ids, columns)?, taken)?;
        }
        for ((layer, map), taken) in tables.maps.iter().zip(maps).zip(filled(taken.maps)) {
            let length = map.len() / rows.max(1);
            let map = list(Arc::new(Float16Array::from(map)), length, rows);
            write("maps", by_layer(&layer.name, &ids, [("map", map)])?, taken)?;
        }
        for (((layer, cells), rows), taken) in tables.cams.iter().zip(cams).zip(filled(taken.cams))
        {
            write("cams", explain::tables::cams(layer, *cells, rows)?, taken)?;
        }
        if first {
            write("layers", tables.layer_rows()?, Vec::new())?;
        }
        Ok(())
    }
}

/// Of each layer, its batches; none where nothing was taken.
fn filled(layers: Vec<Vec<RecordBatch>>) -> impl Iterator<Item = Vec<RecordBatch>> {
    layers.into_iter().chain(iter::repeat_with(Vec::new))
}

impl Predictions {
    /// Softmax in float64. `margin` is the probability of the best class minus that of the second; `entropy` and
    /// `loss` (cross entropy of the label) are in nats.
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
        // From the logits, so that a probability that underflows still has its loss.
        self.loss
            .push(label.map(|label| (sum.ln() - f64::from(logits[label] - highest)) as f32));
        self.top_class
            .extend(order.iter().map(|&class| class as i32));
        self.top_p
            .extend(order.iter().map(|&class| p[class] as f32));
        self.logits.extend_from_slice(logits);
    }

    fn record(self, ids: &ArrayRef, n_classes: usize) -> Result<RecordBatch> {
        let rows = ids.len();
        let fields = Fields::from(vec![
            Field::new("class", DataType::Int32, false),
            Field::new("p", DataType::Float32, false),
        ]);
        let top = StructArray::new(
            fields,
            vec![
                Arc::new(Int32Array::from(self.top_class)),
                floats(self.top_p),
            ],
            None,
        );
        let top = list(Arc::new(top), TOP.min(n_classes), rows);
        let logits = fixed_list(floats(self.logits), n_classes, rows)?;
        let float = |name: &str, optional: bool| Field::new(name, DataType::Float32, optional);
        let schema = Schema::new(vec![
            Field::new("image_id", DataType::UInt32, false),
            Field::new("pred", DataType::Int32, false),
            float("p_pred", false),
            float("p_label", true),
            float("margin", false),
            float("entropy", false),
            float("loss", true),
            Field::new("top5", top.data_type().clone(), false),
            Field::new("logits", logits.data_type().clone(), false),
        ]);
        record(
            Arc::new(schema),
            vec![
                ids.clone(),
                Arc::new(Int32Array::from(self.pred)),
                floats(self.p_pred),
                Arc::new(Float32Array::from(self.p_label)),
                floats(self.margin),
                floats(self.entropy),
                Arc::new(Float32Array::from(self.loss)),
                top,
                logits,
            ],
        )
    }
}

fn floats(values: Vec<f32>) -> ArrayRef {
    Arc::new(Float32Array::from(values))
}

fn by_layer<const N: usize>(
    layer: &str,
    ids: &ArrayRef,
    columns: [(&str, ArrayRef); N],
) -> Result<RecordBatch> {
    let mut fields = vec![
        Field::new("layer", DataType::Utf8, false),
        Field::new("image_id", DataType::UInt32, false),
    ];
    let names = StringArray::from_iter_values(std::iter::repeat_n(layer, ids.len()));
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(names), ids.clone()];
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    record(Arc::new(Schema::new(fields)), arrays)
}

fn fixed_list(values: ArrayRef, length: usize, rows: usize) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), false));
    if rows == 0 {
        return Ok(new_null_array(
            &DataType::FixedSizeList(field, length as i32),
            0,
        ));
    }
    let list = FixedSizeListArray::try_new(field, length as i32, values, None).map_err(internal)?;
    Ok(Arc::new(list))
}

fn record(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(internal)
}

/// The network gave something else than its graph says.
fn internal(error: ArrowError) -> Error {
    Error::Torch {
        context: "the results of a batch".into(),
        message: error.to_string(),
    }
}
