//! Dense linear algebra on libtorch; the only module that uses tch, apart from `model`.

pub mod logistic;
pub mod products;
pub mod spectrum;

/// Softmax; subtracts the maximum against overflow.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut probabilities: Vec<f64> = logits.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|p| *p /= sum);
    probabilities
}

#[cfg(test)]
mod tests {
    #[test]
    fn large_logits_do_not_overflow() {
        let p = super::softmax(&[1000.0, 1000.0, f64::NEG_INFINITY]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
    }
}
