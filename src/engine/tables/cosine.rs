//! Cosine distances from the distances in the table `neighbors` with any metric, without the vectors.

use prospect_analysis::space::neighbors::Metric;
use prospect_common::Result;
use prospect_store::Manifest;

use super::features::FeatureReader;
use crate::Context;

/// Feature vectors in memory at a time.
const VECTORS: usize = 8192;

/// Turns distances of `neighbors` into cosine distances: 1 - cos, from 0 to 2.
pub enum Cosines {
    /// The distances are cosine distances already.
    Given,
    /// From Euclidean distances and the vectors' lengths, by image id; 0 without a vector.
    Lengths(Vec<f32>),
}

impl Cosines {
    /// One pass over the table `features`, unless `neighbors` uses the cosine. `images` is the number of rows in `images`.
    pub fn read(ctx: &Context, manifest: &Manifest, images: usize) -> Result<Cosines> {
        if ctx.config.neighbors.metric == Metric::Cosine {
            return Ok(Cosines::Given);
        }
        let mut lengths = vec![0.0; images];
        for features in FeatureReader::new(ctx.run, manifest, VECTORS) {
            let features = features?;
            ctx.cancel.check()?;
            let vectors = features.values.chunks_exact(features.dimension.max(1));
            for (id, vector) in features.image_ids.iter().zip(vectors) {
                if let Some(length) = lengths.get_mut(*id as usize) {
                    *length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                }
            }
        }
        Ok(Cosines::Lengths(lengths))
    }

    /// Cosine distance of images `a` and `b`, from their distance in `neighbors`.
    pub fn distance(&self, a: u32, b: u32, distance: f32) -> f32 {
        match self {
            Cosines::Given => distance,
            Cosines::Lengths(lengths) => {
                let length = |id: u32| lengths.get(id as usize).copied().unwrap_or(0.0);
                from_euclidean(length(a), length(b), distance)
            }
        }
    }
}

/// 1 - cos from two lengths and a distance: `d² = a² + b² - 2ab cos`. 1 for a zero vector, as in `neighbors`.
fn from_euclidean(a: f32, b: f32, distance: f32) -> f32 {
    if a == 0.0 || b == 0.0 {
        return 1.0;
    }
    let apart = (distance - (a - b).abs()).max(0.0) * (distance + (a - b).abs());
    apart / (2.0 * a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_distances_come_from_euclidean_ones() {
        let distance = |a: [f32; 2], b: [f32; 2]| {
            let length = |v: [f32; 2]| v[0].hypot(v[1]);
            from_euclidean(length(a), length(b), length([a[0] - b[0], a[1] - b[1]]))
        };
        assert!((distance([3.0, 0.0], [0.0, 2.0]) - 1.0).abs() < 1e-6);
        assert!((distance([1.0, 0.0], [5.0, 5.0]) - (1.0 - 0.5f32.sqrt())).abs() < 1e-6);
        assert!(distance([1.0, 2.0], [2.0, 4.0]).abs() < 1e-6);
        assert_eq!(distance([0.0, 0.0], [1.0, 0.0]), 1.0);
    }
}
