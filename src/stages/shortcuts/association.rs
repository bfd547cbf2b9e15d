//! Association of one attribute with the labels.

use prospect_analysis::audit::association::{Contingency, TopPair};

use super::{attributes::Attribute, evaluation::Evaluation};

/// Minimum images of a reported pair of value and label.
pub const MIN_IMAGES: u64 = 10;
/// A reported pair covers at least one in this many images.
const MAX_RARITY: u64 = 10_000;

pub struct Association {
    pub values: usize,
    pub images: u64,
    pub nmi: f64,
    pub p_value: f64,
    pub top: Option<TopPair>,
}

impl Association {
    /// `None` if fewer than two values or labels occur.
    pub fn of(
        attribute: &Attribute,
        evaluation: &Evaluation,
        permutations: usize,
        seed: u64,
    ) -> Option<Association> {
        let pairs = (attribute.of_image.iter().zip(&evaluation.label))
            .filter_map(|(value, label)| Some(((*value)?, (*label)?)));
        let counted = Contingency::of(pairs, attribute.values.len(), evaluation.classes.len());
        let min_support = MIN_IMAGES.max(counted.total() / MAX_RARITY);
        counted.varies().then(|| Association {
            values: attribute.values.len(),
            images: counted.total(),
            nmi: counted.nmi(),
            p_value: counted.p_value(permutations, seed),
            top: counted.top_pair(min_support),
        })
    }
}
