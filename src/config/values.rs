//! Types of settings other than numbers and words.

use std::{fmt, str::FromStr};

use prospect_common::names;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

names! {
    /// Source of labels.
    pub enum Labels {
        /// The name of the image's top-level folder.
        Folder = "folder",
        /// The `label` column of the metadata file.
        Metadata = "metadata",
        /// No labels.
        None = "none",
    }
}

/// The units of each layer that a stage works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitChoice {
    All,
    /// The units whose responses differ most between classes.
    Selective,
    /// Channel indices.
    Listed(Vec<u32>),
}

/// A word or a list.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WordOrList<T> {
    Word(String),
    List(Vec<T>),
}

impl Serialize for UnitChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            UnitChoice::All => serializer.serialize_str("all"),
            UnitChoice::Selective => serializer.serialize_str("selective"),
            UnitChoice::Listed(units) => units.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UnitChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UnitChoice, D::Error> {
        match WordOrList::deserialize(deserializer)? {
            WordOrList::Word(word) if word == "all" => Ok(UnitChoice::All),
            WordOrList::Word(word) if word == "selective" => Ok(UnitChoice::Selective),
            WordOrList::Word(word) => Err(de::Error::custom(format!("unknown units {word:?}"))),
            WordOrList::List(units) => Ok(UnitChoice::Listed(units)),
        }
    }
}

/// Names of columns: a word, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct ColumnNames(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for ColumnNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ColumnNames, D::Error> {
        Ok(ColumnNames(match WordOrList::deserialize(deserializer)? {
            WordOrList::Word(word) => vec![word],
            WordOrList::List(names) => names,
        }))
    }
}

names! {
    /// Source of a layer's feature maps for explanations.
    pub enum MapStorage {
        /// `extract` writes the table `maps`; other methods and classes can be added without another extraction.
        Stored = "stored",
        /// `extract` explains each batch as it passes, without storing maps.
        Inline = "inline",
    }
}

/// A class to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassChoice {
    Predicted,
    /// The image's label, if the network has a class of that name.
    Labelled,
    /// The class with the n-th highest logit, n from 2.
    Top(usize),
    /// One class for all images: its name, or `#` with its index.
    Fixed(String),
}

impl fmt::Display for ClassChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClassChoice::Predicted => f.write_str("predicted"),
            ClassChoice::Labelled => f.write_str("labelled"),
            ClassChoice::Top(n) => write!(f, "top-{n}"),
            ClassChoice::Fixed(class) => write!(f, "class {class}"),
        }
    }
}

impl FromStr for ClassChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<ClassChoice, String> {
        let top = |text: &str| text.strip_prefix("top-")?.parse().ok();
        match text {
            "predicted" => Ok(ClassChoice::Predicted),
            "labelled" => Ok(ClassChoice::Labelled),
            _ => match (text.strip_prefix("class "), top(text)) {
                (Some(class), _) if !class.is_empty() => Ok(ClassChoice::Fixed(class.to_string())),
                (None, Some(n)) if (2..=100).contains(&n) => Ok(ClassChoice::Top(n)),
                _ => Err(format!("unknown class {text:?}")),
            },
        }
    }
}

impl Serialize for ClassChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClassChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClassChoice, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
