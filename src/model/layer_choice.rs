//! Choice of a network's layers.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Layers by module path, or the network's default layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChoice {
    Auto,
    Named(Vec<String>),
}

/// `"layer4"` or `["layer3", "layer4"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum WordOrList {
    Word(String),
    List(Vec<String>),
}

impl Serialize for LayerChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LayerChoice::Auto => serializer.serialize_str("auto"),
            LayerChoice::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LayerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LayerChoice, D::Error> {
        match WordOrList::deserialize(deserializer)? {
            WordOrList::Word(word) if word == "auto" => Ok(LayerChoice::Auto),
            // `--set extract.layers=layer4` names a single layer.
            WordOrList::Word(word) => Ok(LayerChoice::Named(vec![word])),
            WordOrList::List(names) => Ok(LayerChoice::Named(names)),
        }
    }
}
