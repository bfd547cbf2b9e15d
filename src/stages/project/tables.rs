//! The rows of `projection`, `pca_components` and `projection_quality`, written and read again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, RecordBatch,
    StringArray, UInt32Array,
};
use prospect_analysis::space::projection::pca::Pca;
use prospect_common::{Error, Result};
use prospect_config::ProjectionMethod;
use prospect_engine::tables::columns::{Columns, integer, list, number, repeated, table, text};
use prospect_store::{Manifest, RunFolder};

pub const PROJECTION: &str = "projection";
pub const COMPONENTS: &str = "pca_components";
pub const QUALITY: &str = "projection_quality";

/// Where one method puts images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// `[n, 2]`
    pub xy: Vec<f32>,
    /// `[n]`; of PCA, the third score.
    pub z: Option<Vec<f32>>,
    /// Whether each was put into a map that was there before it.
    pub placed: Vec<bool>,
}

/// How well a map keeps neighbourhoods; what cannot be said of so few images, or of that method, is missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    pub trustworthiness: Option<f64>,
    pub knn_preservation: Option<f64>,
    /// Neighbours of each image that both look at.
    pub k: usize,
    pub kl: Option<f64>,
    pub perplexity: Option<f64>,
    pub n: usize,
    /// Images that both were measured on.
    pub sampled: usize,
}

/// One row per image.
pub fn projection(method: ProjectionMethod, image_ids: &[u32], map: &Map) -> Result<RecordBatch> {
    let axis = |axis: usize| -> ArrayRef {
        let values = map.xy.iter().skip(axis).step_by(2);
        Arc::new(Float32Array::from_iter_values(values.copied()))
    };
    let z = match &map.z {
        Some(z) => Float32Array::from(z.clone()),
        None => Float32Array::new_null(image_ids.len()),
    };
    table([
        (
            "image_id",
            Arc::new(UInt32Array::from(image_ids.to_vec())),
            false,
        ),
        ("method", repeated(method.name(), image_ids.len()), false),
        ("x", axis(0), false),
        ("y", axis(1), false),
        ("z", Arc::new(z), true),
        (
            "placed",
            Arc::new(BooleanArray::from(map.placed.clone())),
            false,
        ),
    ])
}

/// The mean as component 0, then the components from 1 on.
pub fn components(pca: &Pca) -> Result<RecordBatch> {
    let rows = pca.len() + 1;
    let after_mean = |values: &[f64]| -> ArrayRef {
        let values = values.iter().map(|&value| Some(value));
        Arc::new(Float64Array::from_iter(std::iter::once(None).chain(values)))
    };
    let vectors = pca.mean.iter().chain(&pca.components).copied();
    let vectors = Arc::new(Float64Array::from_iter_values(vectors));
    table([
        (
            "component",
            Arc::new(Int32Array::from_iter_values(0..rows as i32)),
            false,
        ),
        ("variance", after_mean(&pca.variance), true),
        ("variance_ratio", after_mean(&pca.variance_ratio), true),
        ("vector", list(vectors, pca.mean.len(), rows), false),
    ])
}

/// One row per method.
pub fn quality(rows: &[(ProjectionMethod, Quality)]) -> Result<RecordBatch> {
    let floats = |of: fn(&Quality) -> Option<f64>| -> ArrayRef {
        let values = rows.iter().map(|(_, quality)| of(quality));
        Arc::new(Float32Array::from_iter(
            values.map(|value| value.map(|value| value as f32)),
        ))
    };
    let doubles = |of: fn(&Quality) -> Option<f64>| -> ArrayRef {
        let values = rows.iter().map(|(_, quality)| of(quality));
        Arc::new(Float64Array::from_iter(values))
    };
    let counts = |of: fn(&Quality) -> usize| -> ArrayRef {
        let values = rows.iter().map(|(_, quality)| of(quality) as u32);
        Arc::new(UInt32Array::from_iter_values(values))
    };
    let methods = rows.iter().map(|(method, _)| method.name());
    let k = rows.iter().map(|(_, quality)| quality.k as i32);
    table([
        (
            "method",
            Arc::new(StringArray::from_iter_values(methods)),
            false,
        ),
        (
            "trustworthiness",
            floats(|quality| quality.trustworthiness),
            true,
        ),
        (
            "knn_preservation",
            floats(|quality| quality.knn_preservation),
            true,
        ),
        ("k", Arc::new(Int32Array::from_iter_values(k)), false),
        ("kl", doubles(|quality| quality.kl), true),
        ("perplexity", doubles(|quality| quality.perplexity), true),
        ("n", counts(|quality| quality.n), false),
        ("sampled", counts(|quality| quality.sampled), false),
    ])
}

/// The components that a run holds.
pub fn read_components(run: &RunFolder, manifest: &Manifest) -> Result<Pca> {
    let mut pca = Pca::default();
    let mut rows = 0;
    for batch in run.read(manifest, COMPONENTS) {
        let batch = batch?;
        let columns = Columns::of(run, COMPONENTS, &batch);
        let dimension = columns.list_length("vector")?;
        let values = columns.lists("vector", dimension)?;
        let values = values
            .as_primitive_opt::<arrow::datatypes::Float64Type>()
            .ok_or_else(|| columns.unexpected("float64 vectors", values.data_type().to_string()))?
            .values();
        let variance = columns.numbers("variance")?;
        let ratio = columns.numbers("variance_ratio")?;
        let places = columns.integers("component")?;
        for row in 0..batch.num_rows() {
            let vector = &values[row * dimension..(row + 1) * dimension];
            if integer(&places, row) != Some(rows) {
                return Err(columns.unexpected("components in order", "a gap"));
            }
            rows += 1;
            if rows == 1 {
                pca.mean = vector.to_vec();
                continue;
            }
            let (Some(variance), Some(ratio)) = (number(&variance, row), number(&ratio, row))
            else {
                return Err(columns.unexpected("a variance of each component", "none"));
            };
            pca.components.extend_from_slice(vector);
            pca.variance.push(variance);
            pca.variance_ratio.push(ratio);
        }
    }
    if rows == 0 {
        return Err(Error::invalid(
            run.path(&format!("tables/{COMPONENTS}")),
            "at least the mean",
            "no rows",
            "run `prospect run project` again",
        ));
    }
    Ok(pca)
}

/// Where an image lies in a map: x, y, z, and whether it was placed there later.
pub type Place = ([f32; 3], bool);

/// The places of a run's images by one method.
pub fn read_places(
    run: &RunFolder,
    manifest: &Manifest,
    method: ProjectionMethod,
) -> Result<HashMap<u32, Place>> {
    let mut places = HashMap::new();
    for batch in run.read(manifest, PROJECTION).only("method", method.name()) {
        let batch = batch?;
        let columns = Columns::of(run, PROJECTION, &batch);
        let [x, y, z] = ["x", "y", "z"].map(|axis| columns.numbers(axis));
        let (x, y, z) = (x?, y?, z?);
        let placed = columns.integers("placed")?;
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            let (Some(x), Some(y)) = (number(&x, row), number(&y, row)) else {
                return Err(columns.unexpected("a place of each image", "a null"));
            };
            let z = number(&z, row).unwrap_or(0.0);
            let place = [x, y, z].map(|axis| axis as f32);
            places.insert(id, (place, integer(&placed, row) == Some(1)));
        }
    }
    Ok(places)
}

/// The images that a run's maps hold; all maps hold the same.
pub fn read_ids(run: &RunFolder, manifest: &Manifest) -> Result<HashSet<u32>> {
    let mut ids = HashSet::new();
    for batch in run.read(manifest, PROJECTION).columns(&["image_id"]) {
        ids.extend(Columns::of(run, PROJECTION, &batch?).image_ids()?);
    }
    Ok(ids)
}

/// The figures that a run holds, by method.
pub fn read_quality(run: &RunFolder, manifest: &Manifest) -> Result<Vec<(String, Quality)>> {
    let mut found = Vec::new();
    for batch in run.read(manifest, QUALITY) {
        let batch = batch?;
        let columns = Columns::of(run, QUALITY, &batch);
        let methods = columns.texts("method")?;
        let names = ["trustworthiness", "knn_preservation", "kl", "perplexity"];
        let [trust, knn, kl, perplexity] = names.map(|name| columns.numbers(name));
        let (trust, knn, kl, perplexity) = (trust?, knn?, kl?, perplexity?);
        let [k, n, sampled] = ["k", "n", "sampled"].map(|name| columns.integers(name));
        let (k, n, sampled) = (k?, n?, sampled?);
        for row in 0..batch.num_rows() {
            let whole = |array| integer(array, row).and_then(|value| usize::try_from(value).ok());
            let quality = Quality {
                trustworthiness: number(&trust, row),
                knn_preservation: number(&knn, row),
                k: whole(&k).unwrap_or(0),
                kl: number(&kl, row),
                perplexity: number(&perplexity, row),
                n: whole(&n).unwrap_or(0),
                sampled: whole(&sampled).unwrap_or(0),
            };
            let method = text(&methods, row).unwrap_or_default();
            found.push((method.to_string(), quality));
        }
    }
    Ok(found)
}
