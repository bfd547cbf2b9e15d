//! Association of one attribute with the labels.

use prospect_analysis::audit::{
    association::{Contingency, Test, TopPair, strongest_first},
    significance::benjamini_hochberg,
};

use super::{attributes::Attribute, evaluation::Evaluation};

/// Minimum images of a reported pair of value and label.
pub const MIN_IMAGES: u64 = 10;
/// A reported pair covers at least one in this many images.
const MAX_RARITY: u64 = 10_000;

pub struct Association {
    pub values: usize,
    pub images: u64,
    pub ami: f64,
    pub nmi: f64,
    pub test: Test,
    pub p_value: f64,
    /// Corrected for the number of attributes.
    pub q_value: f64,
    pub top: Option<TopPair>,
}

impl Association {
    /// `None` if fewer than two values or labels occur. [`rank`] corrects the q-value.
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
        counted.varies().then(|| {
            let (test, p_value) = counted.test(permutations, seed);
            Association {
                values: attribute.values.len(),
                images: counted.total(),
                ami: counted.ami(),
                nmi: counted.nmi(),
                test,
                p_value,
                q_value: p_value,
                top: counted.top_pair(min_support),
            }
        })
    }
}

/// Sets the q-values and puts the strongest first.
pub fn rank<T>(found: &mut [(T, Association)]) {
    let p_values: Vec<f64> = found.iter().map(|(_, one)| one.p_value).collect();
    for ((_, one), q_value) in found.iter_mut().zip(benjamini_hochberg(&p_values)) {
        one.q_value = q_value;
    }
    found.sort_by(|(_, a), (_, b)| strongest_first((a.q_value, a.ami), (b.q_value, b.ami)));
}
