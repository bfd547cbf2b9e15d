//! Backward rules of ReLU.

use prospect_common::names;

names! {
    /// Backward rule of a ReLU, for its input `z` and the incoming gradient `g`.
    pub enum ReluRule {
        /// The derivative: `g [z > 0]`.
        Plain = "plain",
        /// Zeiler & Fergus 2014: `g [g > 0]`.
        Deconv = "deconv",
        /// Springenberg et al. 2015: `g [z > 0] [g > 0]`.
        Guided = "guided",
    }
}
