//! The ways to send a gradient back through a ReLU.

use serde::{Deserialize, Serialize};

/// What a ReLU does to the gradient `g` that comes back to it, `z` being its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReluRule {
    /// The derivative: `g [z > 0]`.
    Plain,
    /// Zeiler & Fergus 2014: `g [g > 0]`.
    Deconv,
    /// Springenberg et al. 2015: `g [z > 0] [g > 0]`.
    Guided,
}

impl ReluRule {
    /// As tables and settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            ReluRule::Plain => "plain",
            ReluRule::Deconv => "deconv",
            ReluRule::Guided => "guided",
        }
    }
}
