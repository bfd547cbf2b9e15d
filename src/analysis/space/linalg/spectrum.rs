//! Symmetric matrices in float64: Gram matrices and eigenvectors.
//!
//! The last digits of libtorch's results depend on the number of threads per product. Here each product runs on one thread, so
//! the results are bit-identical for any number of threads.

use prospect_common::{Error, Result};
use rayon::prelude::*;
use tch::{TchError, Tensor};

use super::products::one_thread_each;

/// Rows of the matrix per task.
const STRIP: usize = 128;

/// Eigenvalues and eigenvectors of a symmetric matrix, in descending order.
pub struct Spectrum {
    pub values: Vec<f64>,
    /// `[values.len(), size]`: row `i` belongs to `values[i]`; orthonormal.
    pub vectors: Vec<f64>,
}

/// Adds `rowsᵀ rows` to the upper triangle of `sum`.
///
/// `rows` is `[n, size]` and `sum` is `[size, size]`, both row-major.
pub fn add_gram(rows: &[f64], size: usize, sum: &mut [f64]) -> Result<()> {
    if rows.is_empty() || size == 0 {
        return Ok(());
    }
    let rows = Tensor::f_from_slice(rows)
        .and_then(|rows| rows.f_reshape([-1, size as i64]))
        .map_err(|error| torch(&error))?;
    let strips: Vec<(usize, Tensor, &mut [f64])> = (sum.chunks_mut(STRIP * size).enumerate())
        .map(|(strip, sum)| (strip * STRIP, rows.shallow_clone(), sum))
        .collect();
    one_thread_each(|| {
        strips.into_par_iter().try_for_each(|(start, rows, sum)| {
            // A setting of each thread.
            tch::set_num_threads(1);
            let products = strip(&rows, start, sum.len() / size).map_err(|error| torch(&error))?;
            for (row, (sum, products)) in (sum
                .chunks_exact_mut(size)
                .zip(products.chunks_exact(size - start)))
            .enumerate()
            {
                let from_diagonal = sum[start..].iter_mut().zip(products).skip(row);
                from_diagonal.for_each(|(sum, product)| *sum += product);
            }
            Ok(())
        })
    })
}

/// The products of columns `start..start + n` with the columns from `start` on, `[n, size - start]`.
fn strip(rows: &Tensor, start: usize, n: usize) -> Result<Vec<f64>, TchError> {
    let _guard = tch::no_grad_guard();
    let width = rows.size()[1] - start as i64;
    let right = rows.f_narrow(1, start as i64, width)?;
    let left = right.f_narrow(1, 0, n as i64)?;
    let products = left.f_tr()?.f_mm(&right)?.f_contiguous()?;
    let mut out = vec![0.0; products.numel()];
    products.f_copy_data(&mut out, products.numel())?;
    Ok(out)
}

/// All eigenvalues of a symmetric matrix, and the eigenvectors of the `n_vectors` largest.
///
/// `matrix` is `[size, size]`, row-major; only the upper triangle is read. The sign of an eigenvector is arbitrary.
pub fn spectrum(matrix: &[f64], size: usize, n_vectors: usize) -> Result<Spectrum> {
    if size == 0 {
        return Ok(Spectrum {
            values: Vec::new(),
            vectors: Vec::new(),
        });
    }
    let _guard = tch::no_grad_guard();
    let n_vectors = n_vectors.min(size);
    let decompose = || -> Result<(Vec<f64>, Vec<f64>), TchError> {
        let side = size as i64;
        let matrix = Tensor::f_from_slice(matrix)?.f_reshape([side, side])?;
        // Ascending; vectors in columns.
        let (values, vectors) = matrix.f_linalg_eigh("U")?;
        let values = values.f_flip([0])?;
        let vectors = (vectors.f_narrow(1, side - n_vectors as i64, n_vectors as i64)?)
            .f_flip([1])?
            .f_tr()?
            .f_contiguous()?;
        let mut out = (vec![0.0; size], vec![0.0; n_vectors * size]);
        values.f_copy_data(&mut out.0, size)?;
        vectors.f_copy_data(&mut out.1, n_vectors * size)?;
        Ok(out)
    };
    let (values, vectors) = one_thread_each(decompose).map_err(|error| torch(&error))?;
    Ok(Spectrum { values, vectors })
}

fn torch(error: &TchError) -> Error {
    Error::Torch {
        context: "a covariance and its eigenvectors".into(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers in [-0.5, 0.5).
    fn pseudo_random(n: usize) -> Vec<f64> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(97);
            (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn gram_matrices_are_exact_for_any_number_of_threads() {
        for (n, size) in [(1, 1), (5, 3), (40, 128), (33, 300)] {
            let rows = pseudo_random(n * size);
            let gram = || {
                let mut sum = vec![1.0; size * size];
                add_gram(&rows, size, &mut sum).unwrap();
                sum
            };
            let found = gram();
            for i in 0..size {
                for j in 0..size {
                    let products = (0..n).map(|row| rows[row * size + i] * rows[row * size + j]);
                    let expected = 1.0 + if i <= j { products.sum() } else { 0.0 };
                    assert!((found[i * size + j] - expected).abs() < 1e-12, "{i} {j}");
                }
            }
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                assert_eq!(pool.build().unwrap().install(gram), found);
            }
        }
    }

    #[test]
    fn eigenvectors_match_their_values_for_any_number_of_threads() {
        let size = 150;
        let rows = pseudo_random(200 * size);
        let mut matrix = vec![0.0; size * size];
        add_gram(&rows, size, &mut matrix).unwrap();
        let found = spectrum(&matrix, size, 40).unwrap();
        assert_eq!((found.values.len(), found.vectors.len()), (size, 40 * size));
        assert!(found.values.windows(2).all(|pair| pair[0] >= pair[1]));
        let trace: f64 = (0..size).map(|i| matrix[i * size + i]).sum();
        assert!((found.values.iter().sum::<f64>() - trace).abs() < 1e-9 * trace);
        let entry = |i: usize, j: usize| matrix[i.min(j) * size + i.max(j)];
        for (value, vector) in found.values.iter().zip(found.vectors.chunks(size)) {
            let length: f64 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-12);
            for i in 0..size {
                let image: f64 = (0..size).map(|j| entry(i, j) * vector[j]).sum();
                assert!((image - value * vector[i]).abs() < 1e-10);
            }
        }
        let before = tch::get_num_threads();
        for threads in [1, 2] {
            tch::set_num_threads(threads);
            let again = spectrum(&matrix, size, 40).unwrap();
            assert_eq!(again.values, found.values);
            assert_eq!(again.vectors, found.vectors);
        }
        tch::set_num_threads(before);
    }

    #[test]
    fn an_empty_matrix_has_an_empty_spectrum() {
        let none = spectrum(&[], 0, 5).unwrap();
        assert!(none.values.is_empty() && none.vectors.is_empty());
        add_gram(&[], 3, &mut [0.0; 9]).unwrap();
    }
}
