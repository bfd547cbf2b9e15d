//! Principal components: directions of greatest variance.
//!
//! Means and covariances are summed in float64 over chunks of rows, each about its own mean, and merged exactly (Chan,
//! Golub & LeVeque 1983), so that large means cost no digits and shards may be summed apart. While there are no more rows
//! than columns the rows themselves are kept, and the smaller matrix of their products is decomposed: what is held depends on
//! the number of columns alone.

#[cfg(test)]
mod tests;

use prospect_common::{Error, Result};
use rayon::prelude::*;

use crate::space::linalg::spectrum::{Spectrum, add_gram, spectrum};

/// Rows, or columns of wide data, that are multiplied at a time.
const CHUNK: usize = 1024;
/// Largest side of a matrix that is decomposed: half a gigabyte, and its eigenvectors take minutes.
const MAX_SIDE: usize = 8192;
/// Values that are summed side by side, in a fixed order.
const LANES: usize = 8;

/// What principal components are made of: grows row by row, and by merging.
pub struct Covariance {
    dimension: usize,
    /// Rows that are not in `moments` yet: all of them as long as that is `None`.
    rows: Vec<f32>,
    moments: Option<Moments>,
}

/// Mean and sums of products about it.
struct Moments {
    n: f64,
    mean: Vec<f64>,
    /// `Σ (x - mean)ᵀ (x - mean)`, `[dimension, dimension]`; upper triangle.
    products: Vec<f64>,
}

/// Principal components, the one of greatest variance first. As many as were asked for, or fewer: of n rows and D columns
/// at most min(n - 1, D) have any variance, and directions whose variance is rounding noise are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pca {
    /// `[D]`
    pub mean: Vec<f64>,
    /// `[m, D]`, orthonormal; of each, the loading of largest magnitude is positive.
    pub components: Vec<f64>,
    /// `[m]`, by n - 1.
    pub variance: Vec<f64>,
    /// `[m]`: shares of the variance of all columns together.
    pub variance_ratio: Vec<f64>,
}

impl Covariance {
    /// Of rows of `dimension` numbers.
    pub fn new(dimension: usize) -> Covariance {
        Covariance {
            dimension,
            rows: Vec::new(),
            moments: None,
        }
    }

    /// Takes rows, `[n, dimension]` row-major, of finite numbers.
    ///
    /// # Errors
    /// More than `MAX_SIDE` columns and as many rows.
    pub fn add(&mut self, values: &[f32]) -> Result<()> {
        if self.dimension == 0 {
            return Ok(());
        }
        for some in values.chunks(CHUNK * self.dimension) {
            self.rows.extend_from_slice(some);
            let n = self.rows.len() / self.dimension;
            if self.moments.is_none() && n > self.dimension.min(MAX_SIDE) {
                self.moments = Some(Moments::new(self.dimension)?);
            }
            self.sum_up(CHUNK)?;
        }
        Ok(())
    }

    /// Takes all rows that `other`, of the same dimension, has taken.
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

    /// Moves whole chunks of rows, of `least` rows at least, into the moments.
    fn sum_up(&mut self, least: usize) -> Result<()> {
        let Some(moments) = &mut self.moments else {
            return Ok(());
        };
        let chunk = CHUNK * self.dimension;
        let mut done = 0;
        while self.rows.len() - done >= (least * self.dimension).max(1) {
            let end = self.rows.len().min(done + chunk);
            moments.merge(&Moments::of(&self.rows[done..end], self.dimension)?);
            done = end;
        }
        self.rows.drain(..done);
        Ok(())
    }

    /// The `most` first principal components.
    pub fn finish(mut self, most: usize) -> Result<Pca> {
        self.sum_up(1)?;
        match self.moments {
            Some(moments) => moments.decompose(most),
            None => of_few_rows(&self.rows, self.dimension, most),
        }
    }
}

impl Moments {
    fn new(dimension: usize) -> Result<Moments> {
        if dimension > MAX_SIDE {
            let message = format!(
                "the principal components of more than {MAX_SIDE} images of {dimension} features each would need a \
                 matrix of {dimension} x {dimension}; name a layer of at most {MAX_SIDE} features"
            );
            return Err(Error::setting("extract", "feature_layer", message));
        }
        Ok(Moments {
            n: 0.0,
            mean: vec![0.0; dimension],
            products: vec![0.0; dimension * dimension],
        })
    }

    /// Of at most [`CHUNK`] rows.
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
        let apart: Vec<f64> = (other.mean.iter().zip(&self.mean))
            .map(|(theirs, ours)| theirs - ours)
            .collect();
        let weight = self.n * other.n / n;
        let rows = (self.products.par_chunks_exact_mut(dimension))
            .zip(other.products.par_chunks_exact(dimension));
        rows.enumerate().for_each(|(i, (ours, theirs))| {
            let between = weight * apart[i];
            for ((ours, theirs), apart) in ours.iter_mut().zip(theirs).zip(&apart).skip(i) {
                *ours += theirs + between * apart;
            }
        });
        for (mean, apart) in self.mean.iter_mut().zip(&apart) {
            *mean += apart * (other.n / n);
        }
        self.n = n;
    }

    fn decompose(self, most: usize) -> Result<Pca> {
        let dimension = self.mean.len();
        let Spectrum { values, vectors } = spectrum(&self.products, dimension, most)?;
        let total = trace(&self.products, dimension);
        Ok(Pca::new(self.mean, vectors, &values, total, self.n))
    }
}

/// By the products of rows with rows: with `B` the centred rows and `B Bᵀ u = λ u`, `Bᵀ u / √λ` is a component.
fn of_few_rows(rows: &[f32], dimension: usize, most: usize) -> Result<Pca> {
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
    let Spectrum { values, vectors } = spectrum(&products, n, most)?;
    let kept = significant(&values, n).min(most);
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

/// The mean of the rows, and the rows less it. The mean of what is left is taken away again, so that the rounding of a large
/// mean does not stay.
fn centred(rows: &[f32], dimension: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rows: Vec<f64> = rows.iter().map(|&x| x.into()).collect();
    let mut mean = vec![0.0; dimension];
    let n = rows.len().checked_div(dimension).unwrap_or(0);
    if n == 0 {
        return (mean, rows);
    }
    for _ in 0..2 {
        let mut left = vec![0.0; dimension];
        for row in rows.chunks_exact(dimension) {
            (left.iter_mut().zip(row)).for_each(|(sum, x)| *sum += x);
        }
        left.iter_mut().for_each(|sum| *sum /= n as f64);
        for row in rows.chunks_exact_mut(dimension) {
            (row.iter_mut().zip(&left)).for_each(|(x, left)| *x -= left);
        }
        (mean.iter_mut().zip(&left)).for_each(|(mean, left)| *mean += left);
    }
    (mean, rows)
}

fn trace(matrix: &[f64], size: usize) -> f64 {
    matrix.iter().step_by(size + 1).sum()
}

/// How many of the eigenvalues, greatest first, are more than the rounding of a matrix of that size.
fn significant(values: &[f64], size: usize) -> usize {
    let greatest = values.first().copied().unwrap_or(0.0);
    let noise = 10.0 * size as f64 * f64::EPSILON * greatest;
    values.partition_point(|&value| value > noise)
}

/// Gram-Schmidt, each vector twice: directions of small variance lose digits on the way through the rows.
fn orthonormalise(vectors: &mut [f64], dimension: usize) {
    for at in 0..vectors.len().checked_div(dimension).unwrap_or(0) {
        let (before, from) = vectors.split_at_mut(at * dimension);
        let vector = &mut from[..dimension];
        for _ in 0..2 {
            let length = dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|x| *x /= length);
            for other in before.chunks_exact(dimension) {
                let along = dot(vector, other);
                (vector.iter_mut().zip(other)).for_each(|(x, other)| *x -= along * other);
            }
        }
        let length = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

impl Pca {
    /// `vectors`: `[.., D]`, orthonormal; `values`: all eigenvalues of the sums of products, whose trace is `total`.
    fn new(mean: Vec<f64>, mut vectors: Vec<f64>, values: &[f64], total: f64, n: f64) -> Pca {
        let dimension = mean.len();
        let possible = significant(values, values.len());
        let most = vectors.len().checked_div(dimension).unwrap_or(0);
        let kept = possible.min(most).min((n - 1.0).max(0.0) as usize);
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

    /// How many components there are.
    pub fn len(&self) -> usize {
        self.variance.len()
    }

    pub fn is_empty(&self) -> bool {
        self.variance.is_empty()
    }

    /// The scores of rows `[n, D]`: `[n, m]`. Those of a row do not depend on the rows beside it.
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
