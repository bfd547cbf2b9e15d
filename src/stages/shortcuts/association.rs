//! Association of one attribute with the labels.

use prospect_analysis::audit::association::{Contingency, TopPair};

use super::{attributes::Attribute, judged::Judged};

/// Minimum support of a reported pair of value and label: an absolute number, and one in so many images.
pub const MIN_IMAGES: u64 = 10;
const MIN_SHARE: u64 = 10_000;

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
        judged: &Judged,
        permutations: usize,
        seed: u64,
    ) -> Option<Association> {
        let pairs = (attribute.of_image.iter().zip(&judged.label))
            .filter_map(|(value, label)| Some(((*value)?, (*label)?)));
        let counted = Contingency::of(pairs, attribute.values.len(), judged.classes.len());
        let min = MIN_IMAGES.max(counted.total() / MIN_SHARE);
        counted.varies().then(|| Association {
            values: attribute.values.len(),
            images: counted.total(),
            nmi: counted.nmi(),
            p_value: counted.p_value(permutations, seed),
            top: counted.top_pair(min),
        })
    }
}
