//! Dense linear algebra on libtorch. Besides `model`, the only place that knows tch.

pub mod logistic;
pub mod products;
pub mod spectrum;

/// Probabilities of logits; the largest is taken off first, so that none overflows.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = logits.iter().map(|z| (z - most).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    shares
}

#[cfg(test)]
mod tests {
    #[test]
    fn large_logits_do_not_overflow() {
        let p = super::softmax(&[1000.0, 1000.0, f64::NEG_INFINITY]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
    }
}
