//! The ways to send a gradient back through a ReLU.

use prospect_common::names;

names! {
    /// What a ReLU does to the gradient `g` that comes back to it, `z` being its input.
    pub enum ReluRule {
        /// The derivative: `g [z > 0]`.
        Plain = "plain",
        /// Zeiler & Fergus 2014: `g [g > 0]`.
        Deconv = "deconv",
        /// Springenberg et al. 2015: `g [z > 0] [g > 0]`.
        Guided = "guided",
    }
}
