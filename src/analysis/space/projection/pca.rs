//! Principal component analysis.
//!
//! Means and covariances are computed in float64 per chunk of rows and merged by the updating formulas of Chan, Golub &
//! LeVeque (1983), so that large means cost no precision and shards can be processed separately. With at most as many rows as
//! columns, the rows themselves are kept and their smaller Gram matrix is decomposed, so memory depends on the number of
//! columns only.

#[cfg(test)]
mod tests;

use prospect_common::{Error, Result};
use rayon::prelude::*;

use crate::space::linalg::spectrum::{Spectrum, add_gram, spectrum};

/// Rows, or columns of wide data, per product.
const CHUNK: usize = 1024;
/// Maximum size of a decomposed matrix: half a gigabyte, and its eigenvectors take minutes.
const MAX_SIZE: usize = 8192;
/// Number of parallel sums, added in a fixed order.
const LANES: usize = 8;

/// Covariance of rows, updated by blocks and mergeable.
pub struct Covariance {
    dimension: usize,
    /// Rows not yet in `moments`; all rows while that is `None`.
    rows: Vec<f32>,
    moments: Option<Moments>,
}

/// Mean and central sums of products.
struct Moments {
    n: f64,
    mean: Vec<f64>,
    /// `Σ (x - mean)ᵀ (x - mean)`, `[dimension, dimension]`; upper triangle.
    products: Vec<f64>,
}

/// Principal components by descending variance. There are fewer than requested if fewer directions have a variance above rounding
/// errors; n rows and D columns have at most min(n - 1, D).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pca {
    /// `[D]`
    pub mean: Vec<f64>,
    /// `[m, D]`, orthonormal; the loading of largest magnitude of each is positive.
    pub components: Vec<f64>,
    /// `[m]`, divided by n - 1.
    pub variance: Vec<f64>,
    /// `[m]`, fractions of the total variance.
    pub variance_ratio: Vec<f64>,
}

impl Covariance {
    /// For rows of length `dimension`.
    pub fn new(dimension: usize) -> Covariance {
        Covariance {
            dimension,
            rows: Vec::new(),
            moments: None,
        }
    }

    /// Adds finite rows, `[n, dimension]` row-major.
    ///
    /// # Errors
    /// More than `MAX_SIZE` columns and rows.
    pub fn add(&mut self, values: &[f32]) -> Result<()> {
        if self.dimension == 0 {
            return Ok(());
        }
        for chunk in values.chunks(CHUNK * self.dimension) {
            self.rows.extend_from_slice(chunk);
            let n = self.rows.len() / self.dimension;
            if self.moments.is_none() && n > self.dimension.min(MAX_SIZE) {
                self.moments = Some(Moments::new(self.dimension)?);
            }
            self.flush(CHUNK)?;
        }
        Ok(())
    }

    /// Merges the rows of `other`, of the same dimension.
    ///
    /// # Errors
    /// As [`Covariance::add`].
    pub fn merge(&mut self, other: Covariance) -> Result<()> {
        let Covariance { rows, moments, .. } = other;
        if let Some(theirs) = moments {
            match &mut self.moments {
                Some(ours) => ours.merge(&theirs),
                None => self.moments = Some(theirs),
            }
        }
        self.add(&rows)
    }

    /// Moves chunks of at least `min_rows` rows into the moments.
    fn flush(&mut self, min_rows: usize) -> Result<()> {
        let Some(moments) = &mut self.moments else {
            return Ok(());
        };
        let chunk = CHUNK * self.dimension;
        let mut done = 0;
        while self.rows.len() - done >= (min_rows * self.dimension).max(1) {
            let end = self.rows.len().min(done + chunk);
            moments.merge(&Moments::of(&self.rows[done..end], self.dimension)?);
            done = end;
        }
        self.rows.drain(..done);
        Ok(())
    }

    /// The first principal components, up to `max_components`.
    pub fn finish(mut self, max_components: usize) -> Result<Pca> {
        self.flush(1)?;
        match self.moments {
            Some(moments) => moments.decompose(max_components),
            None => of_few_rows(&self.rows, self.dimension, max_components),
        }
    }
}

impl Moments {
    fn new(dimension: usize) -> Result<Moments> {
        if dimension > MAX_SIZE {
            let message = format!(
                "principal components of more than {MAX_SIZE} images with {dimension} features need a {dimension} x \
                 {dimension} matrix; choose a layer with at most {MAX_SIZE} features"
            );
            return Err(Error::setting("extract", "feature_layer", message));
        }
        Ok(Moments {
            n: 0.0,
            mean: vec![0.0; dimension],
            products: vec![0.0; dimension * dimension],
        })
    }

    /// Moments of at most [`CHUNK`] rows.
    fn of(rows: &[f32], dimension: usize) -> Result<Moments> {
        let mut moments = Moments::new(dimension)?;
        moments.n = (rows.len() / dimension) as f64;
        let (mean, centred) = centred(rows, dimension);
        moments.mean = mean;
        add_gram(&centred, dimension, &mut moments.products)?;
        Ok(moments)
    }

    fn merge(&mut self, other: &Moments) {
        let n = self.n + other.n;
        if other.n == 0.0 {
            return;
        }
        let dimension = self.mean.len();
        let difference: Vec<f64> = (other.mean.iter().zip(&self.mean))
            .map(|(theirs, ours)| theirs - ours)
            .collect();
        let weight = self.n * other.n / n;
        let rows = (self.products.par_chunks_exact_mut(dimension))
            .zip(other.products.par_chunks_exact(dimension));
        rows.enumerate().for_each(|(i, (ours, theirs))| {
            let scaled = weight * difference[i];
            for ((ours, theirs), difference) in ours.iter_mut().zip(theirs).zip(&difference).skip(i)
            {
                *ours += theirs + scaled * difference;
            }
        });
        for (mean, difference) in self.mean.iter_mut().zip(&difference) {
            *mean += difference * (other.n / n);
        }
        self.n = n;
    }

    fn decompose(self, max_components: usize) -> Result<Pca> {
        let dimension = self.mean.len();
        let Spectrum { values, vectors } = spectrum(&self.products, dimension, max_components)?;
        let total = trace(&self.products, dimension);
        Ok(Pca::new(self.mean, vectors, &values, total, self.n))
    }
}

/// From the Gram matrix: with `B` the centred rows and `B Bᵀ u = λ u`, `Bᵀ u / √λ` is a component.
fn of_few_rows(rows: &[f32], dimension: usize, max_components: usize) -> Result<Pca> {
    let n = rows.len().checked_div(dimension).unwrap_or(0);
    let (mean, centred) = centred(rows, dimension);
    let mut products = vec![0.0; n * n];
    for start in (0..dimension).step_by(CHUNK) {
        let columns = start..dimension.min(start + CHUNK);
        let transposed: Vec<f64> = columns
            .flat_map(|column| centred.iter().skip(column).step_by(dimension))
            .copied()
            .collect();
        add_gram(&transposed, n, &mut products)?;
    }
    let total = trace(&products, n);
    let Spectrum { values, vectors } = spectrum(&products, n, max_components)?;
    let kept = significant(&values, n).min(max_components);
    let mut components: Vec<f64> = (vectors.par_chunks_exact(n.max(1)).take(kept))
        .flat_map_iter(|weights| {
            let mut sum = vec![0.0; dimension];
            for (weight, row) in weights.iter().zip(centred.chunks_exact(dimension)) {
                let terms = sum.iter_mut().zip(row);
                terms.for_each(|(sum, x)| *sum += weight * x);
            }
            sum
        })
        .collect();
    orthonormalise(&mut components, dimension);
    Ok(Pca::new(mean, components, &values, total, n as f64))
}

/// The mean of the rows and the centred rows. Centring runs twice, to remove the rounding error of large means.
fn centred(rows: &[f32], dimension: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rows: Vec<f64> = rows.iter().map(|&x| x.into()).collect();
    let mut mean = vec![0.0; dimension];
    let n = rows.len().checked_div(dimension).unwrap_or(0);
    if n == 0 {
        return (mean, rows);
    }
    for _ in 0..2 {
        let mut residual = vec![0.0; dimension];
        for row in rows.chunks_exact(dimension) {
            (residual.iter_mut().zip(row)).for_each(|(sum, x)| *sum += x);
        }
        residual.iter_mut().for_each(|sum| *sum /= n as f64);
        for row in rows.chunks_exact_mut(dimension) {
            (row.iter_mut().zip(&residual)).for_each(|(x, residual)| *x -= residual);
        }
        (mean.iter_mut().zip(&residual)).for_each(|(mean, residual)| *mean += residual);
    }
    (mean, rows)
}

fn trace(matrix: &[f64], size: usize) -> f64 {
    matrix.iter().step_by(size + 1).sum()
}

/// Number of eigenvalues, in descending order, above the rounding error of a matrix of this size.
fn significant(values: &[f64], size: usize) -> usize {
    let largest = values.first().copied().unwrap_or(0.0);
    let noise = 10.0 * size as f64 * f64::EPSILON * largest;
    values.partition_point(|&value| value > noise)
}

/// Gram-Schmidt, twice per vector, since directions of small variance lose precision in the product with the rows.
fn orthonormalise(vectors: &mut [f64], dimension: usize) {
    for at in 0..vectors.len().checked_div(dimension).unwrap_or(0) {
        let (before, rest) = vectors.split_at_mut(at * dimension);
        let vector = &mut rest[..dimension];
        for _ in 0..2 {
            let norm = dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|x| *x /= norm);
            for other in before.chunks_exact(dimension) {
                let along = dot(vector, other);
                (vector.iter_mut().zip(other)).for_each(|(x, other)| *x -= along * other);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
}

impl Pca {
    /// From orthonormal `vectors` `[.., D]` and all eigenvalues of the sums of products, whose trace is `total`.
    fn new(mean: Vec<f64>, mut vectors: Vec<f64>, values: &[f64], total: f64, n: f64) -> Pca {
        let dimension = mean.len();
        let nonzero = significant(values, values.len());
        let available = vectors.len().checked_div(dimension).unwrap_or(0);
        let kept = nonzero.min(available).min((n - 1.0).max(0.0) as usize);
        vectors.truncate(kept * dimension);
        for vector in vectors.chunks_exact_mut(dimension.max(1)) {
            let mut largest = 0.0_f64;
            for &x in vector.iter() {
                if x.abs() > largest.abs() {
                    largest = x;
                }
            }
            if largest < 0.0 {
                vector.iter_mut().for_each(|x| *x = -*x);
            }
        }
        let values = &values[..kept];
        Pca {
            mean,
            components: vectors,
            variance: values.iter().map(|value| value / (n - 1.0)).collect(),
            variance_ratio: values.iter().map(|value| value / total).collect(),
        }
    }

    /// Number of components.
    pub fn len(&self) -> usize {
        self.variance.len()
    }

    pub fn is_empty(&self) -> bool {
        self.variance.is_empty()
    }

    /// The scores `[n, m]` of rows `[n, D]`, each row independently of the others.
    pub fn transform(&self, rows: &[f32]) -> Vec<f32> {
        let dimension = self.mean.len().max(1);
        let scores = rows.par_chunks_exact(dimension).flat_map_iter(|row| {
            let centred: Vec<f64> = (row.iter().zip(&self.mean))
                .map(|(&x, mean)| f64::from(x) - mean)
                .collect();
            (self.components.chunks_exact(dimension))
                .map(move |component| dot(&centred, component) as f32)
        });
        scores.collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = (a.remainder().iter().zip(b.remainder()))
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}
