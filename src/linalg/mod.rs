//! Dense linear algebra on libtorch. Besides `model`, the only place that knows tch.

pub mod logistic;
pub mod products;
pub mod spectrum;
