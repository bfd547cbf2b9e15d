//! Rows of `projection`, `pca_components` and `projection_quality`: writing and reading.

use std::{
    collections::{HashMap, HashSet},
    iter::{once, repeat_n},
};

use arrow::array::{Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array};
use prospect_analysis::space::projection::pca::Pca;
use prospect_common::{Error, Result};
use prospect_config::ProjectionMethod;
use prospect_engine::schema::{pca_components, projection, projection_quality};
use prospect_store::{Manifest, RunFolder, declare::Lists};

/// Coordinates of all images by one method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// `[n, 2]`
    pub xy: Vec<f32>,
    /// `[n]`, the third component; only PCA.
    pub z: Option<Vec<f32>>,
    /// Whether each image was placed into an existing map.
    pub placed: Vec<bool>,
}

/// How well a map preserves neighbourhoods; None where undefined for the method or for so few images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quality {
    pub trustworthiness: Option<f64>,
    pub knn_preservation: Option<f64>,
    /// Neighbours per image in trustworthiness and k-NN preservation.
    pub k: usize,
    pub kl: Option<f64>,
    pub perplexity: Option<f64>,
    pub n: usize,
    /// Images that these two were measured on.
    pub sampled: usize,
}

/// One row per image.
pub fn projection(method: ProjectionMethod, image_ids: &[u32], map: &Map) -> Result<RecordBatch> {
    let axis = |axis: usize| map.xy.iter().skip(axis).step_by(2).copied().collect();
    let n = image_ids.len();
    projection::Columns {
        image_id: image_ids.to_vec().into(),
        method: repeat_n(Some(method.name()), n).collect(),
        x: axis(0),
        y: axis(1),
        z: match &map.z {
            Some(z) => z.clone().into(),
            None => Float32Array::new_null(n),
        },
        placed: map.placed.clone().into(),
    }
    .batch()
}

/// The mean as component 0, then the components from 1 on.
pub fn components(pca: &Pca) -> Result<RecordBatch> {
    let rows = pca.len() + 1;
    let after_mean = |values: &[f64]| once(None).chain(values.iter().copied().map(Some)).collect();
    let vectors = match pca.mean.len() {
        // No image has features.
        0 => Lists::empty(rows),
        dimension => Lists::new([&*pca.mean, &pca.components].concat(), dimension),
    };
    pca_components::Columns {
        component: (0..rows as i32).collect(),
        variance: after_mean(&pca.variance),
        variance_ratio: after_mean(&pca.variance_ratio),
        vector: vectors,
    }
    .batch()
}

/// One row per method.
pub fn quality(rows: &[(ProjectionMethod, Quality)]) -> Result<RecordBatch> {
    let floats = |of: fn(&Quality) -> Option<f64>| -> Float32Array {
        let values = rows.iter().map(|(_, quality)| of(quality));
        values
            .map(|value| value.map(|value| value as f32))
            .collect()
    };
    let doubles = |of: fn(&Quality) -> Option<f64>| -> Float64Array {
        rows.iter().map(|(_, quality)| of(quality)).collect()
    };
    let counts = |of: fn(&Quality) -> usize| -> UInt32Array {
        rows.iter().map(|(_, quality)| of(quality) as u32).collect()
    };
    let methods = rows.iter().map(|(method, _)| method.name());
    projection_quality::Columns {
        method: StringArray::from_iter_values(methods),
        trustworthiness: floats(|quality| quality.trustworthiness),
        knn_preservation: floats(|quality| quality.knn_preservation),
        k: rows.iter().map(|(_, quality)| quality.k as i32).collect(),
        kl: doubles(|quality| quality.kl),
        perplexity: doubles(|quality| quality.perplexity),
        n: counts(|quality| quality.n),
        sampled: counts(|quality| quality.sampled),
    }
    .batch()
}

/// The principal components of a run.
pub fn read_components(run: &RunFolder, manifest: &Manifest) -> Result<Pca> {
    let mut pca = Pca::default();
    let mut rows = 0;
    let columns = (
        pca_components::component,
        pca_components::variance,
        pca_components::variance_ratio,
        pca_components::vector,
    );
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for (component, variance, ratio, vector) in batch.iter() {
            if component != rows {
                return Err(batch.unexpected("components in order", "a gap"));
            }
            rows += 1;
            if rows == 1 {
                pca.mean = vector.to_vec();
                continue;
            }
            let (Some(variance), Some(ratio)) = (variance, ratio) else {
                return Err(batch.unexpected("a variance for each component", "null"));
            };
            pca.components.extend_from_slice(vector);
            pca.variance.push(variance);
            pca.variance_ratio.push(ratio);
        }
    }
    if rows == 0 {
        return Err(Error::invalid(
            run.path(&format!("tables/{}", pca_components::NAME)),
            "at least the mean",
            "no rows",
            "run `prospect run project` again",
        ));
    }
    Ok(pca)
}

/// Coordinates x, y, z of an image in a map, and whether it was placed into an existing map.
pub type Place = ([f32; 3], bool);

/// The places of all images by one method.
pub fn read_places(
    run: &RunFolder,
    manifest: &Manifest,
    method: ProjectionMethod,
) -> Result<HashMap<u32, Place>> {
    let columns = (
        projection::image_id,
        projection::x,
        projection::y,
        projection::z,
        projection::placed,
    );
    let rows = run.rows(manifest, columns);
    let mut places = HashMap::new();
    for batch in rows.only(projection::method, method.name()) {
        let batch = batch?;
        let rows = batch.iter();
        places.extend(rows.map(|(id, x, y, z, placed)| (id, ([x, y, z.unwrap_or(0.0)], placed))));
    }
    Ok(places)
}

/// The images in a run's maps; every map has the same.
pub fn read_ids(run: &RunFolder, manifest: &Manifest) -> Result<HashSet<u32>> {
    let mut ids = HashSet::new();
    for batch in run.rows(manifest, (projection::image_id,)) {
        ids.extend(batch?.columns().0.values());
    }
    Ok(ids)
}

/// The quality of each method's map.
pub fn read_quality(run: &RunFolder, manifest: &Manifest) -> Result<Vec<(String, Quality)>> {
    let columns = (
        projection_quality::method,
        projection_quality::trustworthiness,
        projection_quality::knn_preservation,
        projection_quality::k,
        projection_quality::kl,
        projection_quality::perplexity,
        projection_quality::n,
        projection_quality::sampled,
    );
    let mut rows = Vec::new();
    for batch in run.rows(manifest, columns) {
        for (method, trustworthiness, knn_preservation, k, kl, perplexity, n, sampled) in
            batch?.iter()
        {
            let quality = Quality {
                trustworthiness: trustworthiness.map(f64::from),
                knn_preservation: knn_preservation.map(f64::from),
                k: usize::try_from(k).unwrap_or(0),
                kl,
                perplexity,
                n: n as usize,
                sampled: sampled as usize,
            };
            rows.push((method.to_string(), quality));
        }
    }
    Ok(rows)
}
