//! Algorithms from slices or tensors to values; they neither read files nor print.
//!
//! - [`units`]: top images and statistics of units, effective receptive fields, measures of activation maps
//! - [`space`]: the feature space: linear algebra, nearest neighbours, projections, confusion between classes
//! - [`audit`]: label errors, duplicates, outliers, bad photos, associations and shortcuts

pub mod audit;
pub mod space;
pub mod units;
