//! Layers by the names that tables use.

use super::{analysis::Tap, graph::ValueId};

/// A value of the graph and its name in tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub name: String,
    pub class: String,
    pub value: ValueId,
}

impl From<&Tap> for Layer {
    fn from(tap: &Tap) -> Layer {
        Layer {
            name: tap.name.clone(),
            class: tap.class.clone(),
            value: tap.value,
        }
    }
}
