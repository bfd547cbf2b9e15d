//! Preprocessing as far as it is said: what the settings and a model's sidecar leave out comes from elsewhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{InputSpec, Interpolation, Resize};

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
    pub fn in_range(&self) -> bool {
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
