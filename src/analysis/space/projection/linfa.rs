//! linfa's PCA and t-SNE, as alternatives to and references for ours.

use linfa::{
    DatasetBase,
    traits::{Fit, Transformer},
};
use linfa_reduction::Pca;
use linfa_tsne::TSneParams;
use ndarray::Array2;
use prospect_common::{Error, Result};

use super::layout::Layout;

/// Opening angle of linfa-tsne's tree.
const THETA: f64 = 0.5;
/// Epochs of linfa-tsne, 250 of them with exaggeration, like ours.
const EPOCHS: usize = 750;

/// Principal components by linfa-reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct LinfaPca {
    /// Scores of the points, `[n, m]`.
    pub scores: Vec<f32>,
    /// `[m, dimension]`, unit vectors whose largest loading is positive.
    pub components: Vec<f64>,
    pub mean: Vec<f64>,
    /// Variance of the scores, divided by n - 1; linfa's own divides by the number of components - 1.
    pub variance: Vec<f64>,
    /// Fractions of the total variance.
    pub variance_ratio: Vec<f64>,
}

/// Up to `components` principal components of `points`, `[n, dimension]`.
///
/// linfa computes them by truncated singular value decomposition of all points in memory, in f64.
pub fn pca_linfa(points: &[f32], dimension: usize, components: usize) -> Result<LinfaPca> {
    let dataset = dataset(points, dimension)?;
    let n = dataset.records.nrows();
    let n_components = components.min(dimension).min(n.saturating_sub(1));
    if n_components == 0 {
        return Ok(LinfaPca {
            scores: Vec::new(),
            components: Vec::new(),
            mean: dataset
                .records
                .mean_axis(ndarray::Axis(0))
                .map(|mean| mean.to_vec())
                .unwrap_or_default(),
            variance: Vec::new(),
            variance_ratio: Vec::new(),
        });
    }
    let model = Pca::params(n_components)
        .fit(&dataset)
        .map_err(|error| refused("pca-linfa", &error))?;
    let mean = model.mean().to_vec();
    let mut components = model.components().clone();
    for mut row in components.rows_mut() {
        let largest = row.iter().fold(0f64, |largest, &value| {
            if value.abs() > largest.abs() {
                value
            } else {
                largest
            }
        });
        if largest < 0.0 {
            row.mapv_inplace(|value| -value);
        }
    }
    let centred = dataset.records - model.mean();
    let total = (&centred * &centred).sum();
    let scores = centred.dot(&components.t());
    let squares: Vec<f64> = scores
        .columns()
        .into_iter()
        .map(|column| column.dot(&column))
        .collect();
    Ok(LinfaPca {
        scores: scores.iter().map(|&score| score as f32).collect(),
        components: components.into_iter().collect(),
        mean,
        variance: squares
            .iter()
            .map(|square| square / (n - 1) as f64)
            .collect(),
        variance_ratio: squares
            .iter()
            .map(|square| if total > 0.0 { square / total } else { 0.0 })
            .collect(),
    })
}

/// linfa-tsne's layout of `points`, `[n, dimension]`, with the perplexity limited to a third of the number of other points.
///
/// It cannot be seeded, since its vantage-point tree uses the operating system's random numbers, so two runs differ. It runs on
/// one thread, without progress, and reports no divergence. Fewer than four points stay at the origin.
pub fn tsne_linfa(points: &[f32], dimension: usize, perplexity: f64) -> Result<Layout> {
    let dataset = dataset(points, dimension)?;
    let n = dataset.records.nrows();
    let perplexity = perplexity.min(n.saturating_sub(1) as f64 / 3.0);
    let first = dataset.records.rows().into_iter().next();
    let has_spread = dataset
        .records
        .rows()
        .into_iter()
        .any(|row| Some(row) != first);
    if perplexity < 1.0 || dimension < 2 || !has_spread {
        return Ok(Layout::degenerate(n));
    }
    let map = TSneParams::embedding_size(2)
        .perplexity(perplexity)
        .approx_threshold(THETA)
        .max_iter(EPOCHS)
        .transform(dataset)
        .map_err(|error| refused("tsne-linfa", &error))?;
    let xy: Vec<f32> = map.records.iter().map(|&value| value as f32).collect();
    if let Some(at) = xy.iter().position(|value| !value.is_finite()) {
        return Err(refused(
            "tsne-linfa",
            &format!("the position of row {} is {}", at / 2, xy[at]),
        ));
    }
    Ok(Layout {
        xy,
        kl: None,
        perplexity: Some(perplexity),
        epochs: EPOCHS,
    })
}

fn dataset(
    points: &[f32],
    dimension: usize,
) -> Result<DatasetBase<Array2<f64>, ndarray::Array1<()>>> {
    if let Some(at) = points.iter().position(|value| !value.is_finite()) {
        return Err(Error::invalid(
            "features",
            "finite values",
            format!("{} in row {}", points[at], at / dimension.max(1)),
            "remove the images whose features are not finite",
        ));
    }
    let values: Vec<f64> = points.iter().map(|&value| f64::from(value)).collect();
    let shape = (points.len() / dimension.max(1), dimension);
    let records =
        Array2::from_shape_vec(shape, values).map_err(|error| refused("linfa", &error))?;
    Ok(DatasetBase::from(records))
}

fn refused(method: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(
        "features",
        format!("points that {method} accepts"),
        error.to_string(),
        "use the method without linfa in [project] methods",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::testing::random, *};

    /// A rotated cuboid with sides 9, 4 and 1.
    fn cloud() -> Vec<f32> {
        let numbers = random(200, 3, 1);
        (numbers.chunks_exact(3))
            .flat_map(|point| {
                let (a, b, c) = (
                    9.0 * (point[0] - 0.5),
                    4.0 * (point[1] - 0.5),
                    point[2] - 0.5,
                );
                [0.6 * a - 0.8 * b + 5.0, 0.8 * a + 0.6 * b, c]
            })
            .collect()
    }

    #[test]
    fn components_are_the_clouds_axes() {
        let pca = pca_linfa(&cloud(), 3, 5).unwrap();
        assert_eq!(pca.variance.len(), 3);
        for (found, axis) in
            pca.components
                .chunks(3)
                .zip([[0.6, 0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, 1.0]])
        {
            let cosine: f64 = found.iter().zip(axis).map(|(a, b)| a * b).sum();
            assert!(cosine.abs() > 0.98, "{found:?}");
            assert!(
                found
                    .iter()
                    .fold(0f64, |m, v| if v.abs() > m.abs() { *v } else { m })
                    > 0.0
            );
        }
        assert!(
            (pca.variance[0] - 81.0 / 12.0).abs() < 1.5,
            "{:?}",
            pca.variance
        );
        assert!((pca.variance_ratio.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let mean: f32 = pca.scores.iter().step_by(3).sum::<f32>() / 200.0;
        assert!(mean.abs() < 1e-4);
    }

    #[test]
    fn too_few_points_and_values_that_are_not_finite() {
        assert!(pca_linfa(&[], 3, 2).unwrap().scores.is_empty());
        assert!(
            pca_linfa(&[1.0, 2.0, 3.0], 3, 2)
                .unwrap()
                .variance
                .is_empty()
        );
        assert_eq!(
            pca_linfa(&[1.0, 2.0, 3.0, 4.0, 5.0, 7.0], 3, 2)
                .unwrap()
                .variance
                .len(),
            1
        );
        assert!(pca_linfa(&[1.0, f32::NAN, 3.0, 0.0], 2, 1).is_err());
        for n in 0..4 {
            assert_eq!(
                tsne_linfa(&vec![0.5; 3 * n], 3, 30.0).unwrap().xy,
                vec![0.0; 2 * n]
            );
        }
        assert_eq!(tsne_linfa(&[1.0; 60], 3, 30.0).unwrap().xy, vec![0.0; 40]);
        assert!(tsne_linfa(&[f32::INFINITY; 60], 3, 30.0).is_err());
    }

    #[test]
    fn tsne_preserves_neighbourhoods() {
        let points = cloud();
        let map = tsne_linfa(&points, 3, 30.0).unwrap();
        assert_eq!(map.xy.len(), 400);
        let quality = super::super::quality::quality(&points, 3, &map.xy, 15, 0).unwrap();
        assert!(quality.trustworthiness > 0.9, "{quality:?}");
    }
}
