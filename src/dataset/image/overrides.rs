//! Partial preprocessing settings, from the configuration and the model's sidecar.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{InputSpec, Interpolation, Resize};

/// `"none"`, a number for the shorter side, or `[height, width]`, in pixels.
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
    /// Whether all lengths are between 1 and 16384 pixels.
    pub fn in_range(&self) -> bool {
        let allowed = 1..=16_384;
        match self {
            Size::None => true,
            Size::Short(short) => allowed.contains(short),
            Size::Exact { height, width } => allowed.contains(height) && allowed.contains(width),
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
            SizeForm::Word(word) => Err(de::Error::custom(format!("invalid size {word:?}"))),
            SizeForm::Short(short) => Ok(Size::Short(short)),
            SizeForm::Exact([height, width]) => Ok(Size::Exact { height, width }),
        }
    }
}

/// Preprocessing settings from `[input]` or the model's JSON sidecar; all optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct InputOverrides {
    /// A number scales the shorter side to it, `[height, width]` to exactly that size; `"none"` keeps the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Size>,
    /// The centre crop: a number for a square, `[height, width]` for a rectangle, `"none"` for no crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// Subtracted from red, green and blue in 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Divisors of red, green and blue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

impl InputOverrides {
    /// The settings of `self`, or else of `base`.
    pub fn or(&self, base: &InputOverrides) -> InputOverrides {
        InputOverrides {
            resize: self.resize.or(base.resize),
            crop: self.crop.or(base.crop),
            interpolation: self.interpolation.or(base.interpolation),
            mean: self.mean.or(base.mean),
            std: self.std.or(base.std),
        }
    }

    /// `spec` overridden by these settings.
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
                Size::Short(size) => Some((size, size)),
                Size::Exact { height, width } => Some((height, width)),
            };
        }
        spec.interpolation = self.interpolation.unwrap_or(spec.interpolation);
        spec.mean = self.mean.unwrap_or(spec.mean);
        spec.std = self.std.unwrap_or(spec.std);
        spec
    }
}
