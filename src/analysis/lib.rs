//! The algorithms. They take slices or tensors and return values: they neither read files nor print.
//!
//! - [`units`]: the best images of every unit, where a cell looked, what a heat map says
//! - [`space`]: linear algebra, nearest neighbours, projections, confusion between classes
//! - [`audit`]: wrong labels, copies, outliers, bad photos, associations and shortcuts

pub mod audit;
pub mod space;
pub mod units;
