//! How much each stage is going to write: rows from the settings and the network's graph, bytes by measured factors.
//!
//! No image is read and nothing runs, so the bytes are an expectation: right within a factor of two for the networks and
//! photos that the factors were measured on (ResNet-50, SqueezeNet 1.1, MobileNetV2 and EfficientNet-Lite0 trained on
//! ImageNet, over 200 and 713 photos; a ResNet-20 over 10,000 pictures of 32 x 32). The comment at each factor gives what
//! was seen.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Context, backprop,
    explain::{pictures, rows::Choice},
    neighbors, patches,
    scan::SPLITS,
    shortcuts,
};
use crate::{
    config::{ClassChoice, Labels, MapStorage},
    error::Result,
    model::{Layer, ModelInfo},
    picture::scatter,
};

/// Share of a float32 vector's bytes that zstd leaves: logits 0.88 to 0.93, features 0.58 to 0.89.
const FLOATS: f64 = 0.92;
const FEATURES: f64 = 0.8;
/// Of the six bytes of each channel in `units`: 0.70 to 0.81.
const UNITS: f64 = 0.77;
/// Of float16 maps that nothing has rectified: 0.90 to 0.93.
const DENSE: f64 = 0.93;
/// Of float16 maps after a ReLU: 0.46 to 0.71 up to the last blocks, 0.21 to 0.29 there.
const RECTIFIED: f64 = 0.6;
/// Of the rectified map before the head where it is wide, since few of its units fire at a time: 0.11 to 0.20 with 512 to
/// 2048 channels; 0.55 with 64.
const LAST_RECTIFIED: f64 = 0.2;
const WIDE: u64 = 256;
/// Of the maps that explain: 0.86 for one class an image; 0.59 for two, which often are the same.
const EXPLAINING: f64 = 0.75;
/// Bytes of a row that are not among the vectors, before and after compression. `images`: 74 to 105 on the disk;
/// `predictions` without logits: 40 to 62; `patches`: 9 to 20; `unit_stats`: 27 to 37; `explanations` without maps: 27 to 70;
/// `confusion` and `class_overlap`: 3 to 32, less for many rows.
const IMAGE_ROW: [f64; 2] = [150.0, 110.0];
const PREDICTION_ROW: [f64; 2] = [64.0, 55.0];
const PATCH_ROW: [f64; 2] = [110.0, 14.0];
const GRADIENT_ROW: [f64; 2] = [80.0, 90.0];
const UNIT_ROW: [f64; 2] = [70.0, 33.0];
const EXPLANATION_ROW: [f64; 2] = [110.0, 45.0];
const NEIGHBOR_ROW: [f64; 2] = [15.0, 9.0];
const NEIGHBOR_STATS_ROW: [f64; 2] = [16.0, 9.0];
/// A map's coordinates hardly compress: 13 to 22.
const PROJECTION_ROW: [f64; 2] = [21.0, 16.0];
const QUALITY_ROW: [f64; 2] = [40.0, 2200.0];
/// A scatter as PNG, of 5 MB of pixels: 0.15 to 0.77 MB. As SVG, its legend, and each point: 64 to 65 bytes.
const SCATTER_PNG: [f64; 2] = [5.2e6, 5e5];
const SCATTER_SVG: [f64; 2] = [2e4, 65.0];
/// Bytes of a point's links in the index.
const INDEX_LINKS: f64 = 600.0;
const PAIR_ROW: [f64; 2] = [40.0, 12.0];
/// Our own eight measures of a picture and a few of the user's columns, each of about five values in ten classes.
const ATTRIBUTES: u64 = 10;
const GROUPS: u64 = 55;
const ATTRIBUTE_ROW: [f64; 2] = [90.0, 250.0];
const GROUP_ROW: [f64; 2] = [80.0, 40.0];
const LAYER_ROW: [f64; 2] = [80.0, 200.0];
/// A digest as text is twice its bytes, and does not compress below them.
const EXTRACTED_ROW: [f64; 2] = [80.0, 42.0];
const CLASS_ROW: [f64; 2] = [24.0, 12.0];
/// Of the user's columns in `images`, relative to the file that holds them.
const METADATA: f64 = 0.5;
/// Of the pixels of a PNG: 0.36 to 0.56 for contact sheets of photos, 0.35 for overlays, 0.17 for gradients, which are
/// mostly grey; less for smaller pictures.
const SHEET_PNG: f64 = 0.5;
const OVERLAY_PNG: f64 = 0.35;
const GRADIENT_PNG: f64 = 0.2;
/// A matrix of 2 to 1000 classes: 1000 x 398 to 1800 x 1410 pixels, of whose bytes 0.05 to 0.08 are left.
const MATRIX_PIXELS: u64 = 1600 * 1200;
const MATRIX_PNG: f64 = 0.07;

/// What a stage is expected to write of one table, or of its pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableEstimate {
    /// Its name; of files that are no tables, their folder in the run folder.
    pub table: &'static str,
    /// Rows, or files.
    pub rows: u64,
    /// Before encoding and compression; of pictures, their pixels.
    pub raw_bytes: u64,
    /// On the disk.
    pub bytes: u64,
    /// What would make it smaller, for a sentence.
    #[serde(skip)]
    pub remedy: Option<&'static str>,
}

impl TableEstimate {
    /// `rows` of so many bytes each, before and after compression.
    pub fn new(table: &'static str, rows: u64, [raw, disk]: [f64; 2]) -> TableEstimate {
        TableEstimate {
            table,
            rows,
            raw_bytes: (rows as f64 * raw) as u64,
            bytes: (rows as f64 * disk) as u64,
            remedy: None,
        }
    }

    fn or(self, remedy: &'static str) -> TableEstimate {
        TableEstimate {
            remedy: Some(remedy),
            ..self
        }
    }
}

/// A row's fixed part and a vector of so many bytes, of which `share` is left.
pub(super) fn with_vector([raw, disk]: [f64; 2], vector: u64, share: f64) -> [f64; 2] {
    [raw + vector as f64, disk + vector as f64 * share]
}

/// A picture of so many pixels, of whose bytes `share` is left.
fn picture(pixels: u64, share: f64) -> [f64; 2] {
    let raw = 3.0 * pixels as f64;
    [raw, raw * share]
}

/// Channels, rows and columns of a layer's map.
fn shape(model: &ModelInfo, layer: &Layer) -> [u64; 3] {
    let sizes = model.graph.shape(layer.value).unwrap_or(&[]);
    [1, 2, 3].map(|at| {
        let size = sizes.get(at).copied().flatten();
        size.and_then(|size| u64::try_from(size).ok()).unwrap_or(1)
    })
}

/// `images`, with the user's columns, and `classes`.
pub fn scan(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let metadata = ctx.config.images.metadata.as_ref();
    let theirs = metadata.and_then(|path| path.metadata().ok());
    let theirs = theirs.map_or(0, |file| file.len());
    let mut table = TableEstimate::new("images", images, IMAGE_ROW);
    table.raw_bytes += theirs;
    table.bytes += (theirs as f64 * METADATA) as u64;
    let classes = match &ctx.config.model.path {
        Some(_) => ctx.model()?.sidecar.classes.len(),
        None => 0,
    };
    Ok(vec![
        table,
        TableEstimate::new("classes", classes as u64, CLASS_ROW),
    ])
}

/// Numbers of a feature vector.
pub(super) fn feature_dimension(ctx: &Context) -> Result<u64> {
    let model = ctx.model()?;
    let feature = model.feature(&ctx.config.extract.feature_layer)?;
    let sizes = model.graph.shape(feature.value).unwrap_or(&[]);
    // [n, d], [n, tokens, d] or [n, d, rows, columns].
    let length = sizes.get(if sizes.len() == 3 { 2 } else { 1 });
    Ok(length.copied().flatten().unwrap_or(0) as u64)
}

/// About how many classes the labels have: a folder's are counted, others are taken to be the network's.
pub(super) fn dataset_classes(ctx: &Context) -> Result<u64> {
    let images = &ctx.config.images;
    let folders = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let is_split = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        SPLITS.iter().any(|split| name.eq_ignore_ascii_case(split))
    };
    match images.labels {
        Labels::None => Ok(0),
        Labels::Folder => {
            let top = folders(&images.dir);
            let inside = match top.first() {
                Some(split) if top.iter().all(is_split) => folders(split),
                _ => top,
            };
            Ok(inside.len() as u64)
        }
        Labels::Metadata => Ok(u64::try_from(ctx.model()?.graph.n_classes()).unwrap_or(0)),
    }
}

/// `predictions`, `features`, `units`, `layers`, `extracted`, and `maps` or, where extract explains inline, `cams`.
pub fn extract(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (ctx.config, ctx.model()?);
    let units = model.layers(&config.extract.layers, "[extract] layers")?;
    let length = feature_dimension(ctx)?;
    let n_classes = u64::try_from(model.graph.n_classes()).unwrap_or(0);
    let channels: u64 = units.iter().map(|layer| shape(model, layer)[0]).sum();
    let n_layers = units.len() as u64;
    let mut tables = vec![
        TableEstimate::new(
            "predictions",
            images,
            with_vector(PREDICTION_ROW, 4 * n_classes, FLOATS),
        ),
        TableEstimate::new(
            "features",
            images,
            with_vector([4.0, 4.0], 4 * length, FEATURES),
        )
        .or("take a narrower [extract] feature_layer"),
        {
            let row = with_vector([16.0, 4.0], 6 * channels / n_layers.max(1), UNITS);
            TableEstimate::new("units", images * n_layers, row).or("name fewer [extract] layers")
        },
        TableEstimate::new("layers", n_layers, LAYER_ROW),
        TableEstimate::new("extracted", images, EXTRACTED_ROW),
    ];
    match config.explain.maps {
        MapStorage::Inline => tables.extend(explanations(ctx, images, "cams", 4)?),
        MapStorage::Stored => tables.extend(maps(ctx, images)?),
    }
    Ok(tables)
}

/// `maps`, where there are any.
fn maps(ctx: &Context, images: u64) -> Result<Option<TableEstimate>> {
    let model = ctx.model()?;
    let last = model.analysis.explanation;
    let last = last.map(|index| model.analysis.taps[index].value);
    let layers = Choice::new(&ctx.config.explain, model)?.maps();
    let mut sum = Sum::default();
    for layer in &layers {
        let [channels, rows, cols] = shape(model, layer);
        let share = if !model.analysis.is_rectified(&model.graph, layer.value) {
            DENSE
        } else if last == Some(layer.value) && channels >= WIDE {
            LAST_RECTIFIED
        } else {
            RECTIFIED
        };
        let vector = 2 * channels * rows * cols;
        sum.add(1, with_vector([16.0, 4.0], vector, share));
    }
    let remedy = "set [explain] maps = \"inline\", name fewer [explain] layers";
    Ok(sum.table("maps", images, remedy))
}

/// Every image at every layer by every method for every class: `explanations`, or `cams`, whose maps are float32.
fn explanations(
    ctx: &Context,
    images: u64,
    table: &'static str,
    bytes_per_cell: u64,
) -> Result<Option<TableEstimate>> {
    let (explain, model) = (&ctx.config.explain, ctx.model()?);
    let classes = classes_explained(ctx);
    let mut sum = Sum::default();
    for layer in &Choice::new(explain, model)?.layers {
        let (rows, cols) = layer.sides(model);
        let vector = (rows * cols) as u64 * bytes_per_cell;
        let n = layer.methods.len() as u64 * classes;
        sum.add(n, with_vector(EXPLANATION_ROW, vector, EXPLAINING));
    }
    let remedy = "name fewer [explain] layers, methods or classes";
    Ok(sum.table(table, images, remedy))
}

/// For how many classes an image is explained at most.
fn classes_explained(ctx: &Context) -> u64 {
    let has_labels = ctx.config.images.labels != Labels::None;
    let classes = ctx.config.explain.classes.iter();
    classes
        .filter(|class| has_labels || **class != ClassChoice::Labelled)
        .count() as u64
}

/// Rows of different lengths that every image has.
#[derive(Default)]
struct Sum {
    rows: u64,
    bytes: [f64; 2],
}

impl Sum {
    fn add(&mut self, rows: u64, row: [f64; 2]) {
        self.rows += rows;
        for (sum, bytes) in self.bytes.iter_mut().zip(row) {
            *sum += rows as f64 * bytes;
        }
    }

    /// None without rows.
    fn table(
        self,
        table: &'static str,
        images: u64,
        remedy: &'static str,
    ) -> Option<TableEstimate> {
        let mean = self.bytes.map(|bytes| bytes / self.rows as f64);
        (self.rows > 0).then(|| TableEstimate::new(table, images * self.rows, mean).or(remedy))
    }
}

/// `patches`, `unit_stats` and the contact sheets, which do not grow with the images.
pub fn patches(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (&ctx.config.patches, ctx.model()?);
    let k = images.min(config.k as u64);
    let (mut units, mut sheets) = (0, 0);
    for layer in &model.layers(&ctx.config.extract.layers, "[extract] layers")? {
        let channels = shape(model, layer)[0];
        units += channels;
        sheets += patches::most_sheets(&config.units, channels as usize) as u64;
    }
    Ok(vec![
        TableEstimate::new("patches", units * k, PATCH_ROW),
        TableEstimate::new("unit_stats", units, UNIT_ROW),
        TableEstimate::new(
            "pictures/patches",
            sheets,
            picture(k * patches::TILE_PIXELS, SHEET_PNG),
        )
        .or("set [patches] units = \"selective\" or a smaller k"),
    ])
}

/// `explanations` and overlays: some of every class, each a photo beside one map of each class that it was explained for.
pub fn explain(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (explain, model) = (&ctx.config.explain, ctx.model()?);
    let Some(table) = explanations(ctx, images, "explanations", 2)? else {
        return Ok(Vec::new());
    };
    let classes = u64::try_from(model.graph.n_classes()).unwrap_or(0);
    let n = images.min(explain.pictures as u64 * classes);
    let panels = 1 + classes_explained(ctx).min(pictures::MAX_MAPS as u64);
    let overlays = picture(panels * pictures::PANEL_PIXELS, OVERLAY_PNG);
    Ok(vec![
        table,
        TableEstimate::new("pictures/explanations", n, overlays)
            .or("ask for fewer [explain] pictures"),
    ])
}

/// The k nearest of each image, and what leads there: candidates of pairs of blocks, or an index.
pub fn neighbors(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let settings = &ctx.config.neighbors;
    let rows = images * (settings.k as u64).min(images.saturating_sub(1));
    let mut tables = vec![
        TableEstimate::new("neighbors", rows, NEIGHBOR_ROW).or("set a smaller [neighbors] k"),
        TableEstimate::new("neighbor_stats", images, NEIGHBOR_STATS_ROW),
    ];
    let dimension = feature_dimension(ctx)?;
    if neighbors::uses_index(ctx, images, dimension)? {
        let row = 4.0 * dimension as f64 + INDEX_LINKS;
        tables.push(TableEstimate::new("index", images, [row, row]));
    } else {
        let blocks = images.div_ceil(settings.block_size as u64);
        if blocks > 1 {
            tables.push(
                TableEstimate::new("neighbor_candidates", blocks * rows, NEIGHBOR_ROW)
                    .or("set a larger [neighbors] block_size"),
            );
        }
    }
    Ok(tables)
}

/// Pairs of classes, of which there are at most as many as images or neighbours, and the matrices drawn of them.
pub fn confusion(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    if ctx.config.images.labels == Labels::None {
        return Ok(Vec::new());
    }
    let classes = u64::try_from(ctx.model()?.graph.n_classes()).unwrap_or(0);
    let pairs = classes.saturating_mul(classes);
    let edges = images.saturating_mul(ctx.config.neighbors.k as u64);
    Ok(vec![
        TableEstimate::new("confusion", images.min(pairs), PAIR_ROW),
        TableEstimate::new("class_overlap", edges.min(pairs), PAIR_ROW),
        TableEstimate::new("pictures/confusion", 2, picture(MATRIX_PIXELS, MATRIX_PNG)),
    ])
}

/// Maps, their pictures and the principal components.
pub fn project(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let settings = &ctx.config.project;
    let methods = settings.methods.len() as u64;
    let dimension = feature_dimension(ctx)?;
    let components = dimension.min(settings.components as u64).min(images) + 1;
    let colourings = if ctx.config.images.labels == Labels::None {
        1
    } else {
        3
    };
    let svg = SCATTER_SVG[0] + SCATTER_SVG[1] * images.min(scatter::SVG_POINTS as u64) as f64;
    Ok(vec![
        TableEstimate::new("projection", images * methods, PROJECTION_ROW),
        TableEstimate::new(
            "pca_components",
            components,
            with_vector([20.0, 20.0], 8 * dimension, FLOATS),
        ),
        TableEstimate::new("projection_quality", methods, QUALITY_ROW),
        TableEstimate::new(
            "pictures/project",
            2 * methods * colourings,
            SCATTER_PNG.map(|png| (png + svg) / 2.0),
        )
        .or("name fewer [project] methods"),
    ])
}

/// The pixels that make the strongest patches of chosen units fire: beside each patch, one picture a rule.
pub fn backprop(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    let (config, model) = (&ctx.config.backprop, ctx.model()?);
    let k = images.min(ctx.config.patches.k as u64);
    let mut units = 0;
    for layer in &model.layers(&ctx.config.extract.layers, "[extract] layers")? {
        units += shape(model, layer)[0].min(config.units_per_layer as u64);
    }
    let rules = config.rules.len() as u64;
    Ok(vec![
        TableEstimate::new("unit_gradients", units * k, GRADIENT_ROW),
        TableEstimate::new(
            "pictures/backprop",
            units,
            picture(k * (1 + rules) * backprop::TILE_PIXELS, GRADIENT_PNG),
        )
        .or("set a smaller [backprop] units_per_layer"),
    ])
}

/// Attributes against labels, and the units that fire for a mark: hardly any of it grows with the images.
pub fn shortcuts(ctx: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    if ctx.config.images.labels == Labels::None || images == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![
        TableEstimate::new("associations", ATTRIBUTES, ATTRIBUTE_ROW),
        TableEstimate::new("groups", ATTRIBUTES * GROUPS, GROUP_ROW),
        TableEstimate::new(
            "pictures/shortcuts",
            shortcuts::SHEETS as u64,
            picture(shortcuts::SHEET_PIXELS, SHEET_PNG),
        ),
    ])
}
