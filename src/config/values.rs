//! Types of settings that are more than a number or a word.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::image::{InputSpec, Interpolation, Resize};

/// Where labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The name of the top-level folder that an image lies in.
    Folder,
    /// The `label` column of the metadata file.
    Metadata,
    /// There are none.
    None,
}

/// Arithmetic of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    Float32,
    /// Needs a CUDA device.
    BFloat16,
}

/// Where the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    Auto,
    Cpu,
    /// The CUDA device of this index; an error where there is none.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| format!("{text:?} is no device")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DeviceChoice, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Layers by their module paths, or the network's own choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChoice {
    Auto,
    Named(Vec<String>),
}

/// Which units of each layer a stage works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitChoice {
    All,
    /// Those whose responses differ most between classes.
    Selective,
    /// Channel indices.
    Listed(Vec<u32>),
}

/// A word or a list, as both may stand at the same key.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WordOrList<T> {
    Word(String),
    List(Vec<T>),
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
            // `--set extract.layers=layer4` means the one layer.
            WordOrList::Word(word) => Ok(LayerChoice::Named(vec![word])),
            WordOrList::List(names) => Ok(LayerChoice::Named(names)),
        }
    }
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
            WordOrList::Word(word) => Err(de::Error::custom(format!("{word:?} names no units"))),
            WordOrList::List(units) => Ok(UnitChoice::Listed(units)),
        }
    }
}

/// `"none"`, one number for the shorter side, or `[height, width]`; in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    None,
    Short(u32),
    Exact { height: u32, width: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SizeForm {
    Word(String),
    Short(u32),
    Exact([u32; 2]),
}

impl Size {
    /// Whether every side is from 1 to 16384 pixels.
    pub(super) fn in_range(&self) -> bool {
        let side = 1..=16_384;
        match self {
            Size::None => true,
            Size::Short(short) => side.contains(short),
            Size::Exact { height, width } => side.contains(height) && side.contains(width),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Size::None => SizeForm::Word("none".into()),
            Size::Short(short) => SizeForm::Short(short),
            Size::Exact { height, width } => SizeForm::Exact([height, width]),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        match SizeForm::deserialize(deserializer)? {
            SizeForm::Word(word) if word == "none" => Ok(Size::None),
            SizeForm::Word(word) => Err(de::Error::custom(format!("{word:?} is no size"))),
            SizeForm::Short(short) => Ok(Size::Short(short)),
            SizeForm::Exact([height, width]) => Ok(Size::Exact { height, width }),
        }
    }
}

/// How images become the network's input, as far as it is said: `[input]`, and the model's JSON sidecar.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct InputOverrides {
    /// A number scales the shorter side to it; `[height, width]` scales to exactly that; `"none"` leaves the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Size>,
    /// The centre crop: a number is a square, `[height, width]` a box, `"none"` no crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// Of red, green and blue in 0..=1, subtracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Of red, green and blue, divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

impl InputOverrides {
    /// `self` where it says something, else `base`.
    pub fn or(&self, base: &InputOverrides) -> InputOverrides {
        InputOverrides {
            resize: self.resize.or(base.resize),
            crop: self.crop.or(base.crop),
            interpolation: self.interpolation.or(base.interpolation),
            mean: self.mean.or(base.mean),
            std: self.std.or(base.std),
        }
    }

    /// `spec` with what is said here laid over it.
    pub fn apply(&self, mut spec: InputSpec) -> InputSpec {
        if let Some(resize) = self.resize {
            spec.resize = match resize {
                Size::None => Resize::None,
                Size::Short(short) => Resize::Short(short),
                Size::Exact { height, width } => Resize::Exact { height, width },
            };
        }
        if let Some(crop) = self.crop {
            spec.crop = match crop {
                Size::None => None,
                Size::Short(side) => Some((side, side)),
                Size::Exact { height, width } => Some((height, width)),
            };
        }
        spec.interpolation = self.interpolation.unwrap_or(spec.interpolation);
        spec.mean = self.mean.unwrap_or(spec.mean);
        spec.std = self.std.unwrap_or(spec.std);
        spec
    }
}

/// Where explanations get a layer's maps from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapStorage {
    /// `extract` writes the table `maps`; other methods and classes need no second extraction.
    Stored,
    /// `extract` explains every batch as it passes, and keeps no maps.
    Inline,
}

/// A class for which an image is explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassChoice {
    Predicted,
    /// The image's label, where the network knows a class of that name.
    Labelled,
    /// The class with the n-th greatest logit, n from 2.
    Top(usize),
    /// One class for all images: its name, or `#` and its index.
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
                _ => Err(format!("{text:?} names no class")),
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
