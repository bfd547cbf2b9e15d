//! Preprocessing and class names in the words of Hugging Face (`preprocessor_config.json`, `config.json`) and timm (`config.json`).

use std::{collections::BTreeMap, ops::Range};

use prospect_common::text::{escaped, shortened};
use prospect_dataset::image::{InputOverrides, Size};
use serde_json::Value;

/// A complaint: its location, and a sentence.
pub(super) type Wrong = (Range<usize>, String);

/// Keys of class names, by precedence.
pub(super) const CLASSES: [&str; 8] = [
    "classes",
    "id2label",
    "label_names",
    "class_names",
    "labels",
    "names",
    "label2id",
    "class_to_idx",
];
/// Other words for keys of `[input]`.
const SAME: [(&str, &str); 3] = [
    ("image_mean", "mean"),
    ("image_std", "std"),
    ("resample", "interpolation"),
];
/// Pillow's filters, by number.
const FILTERS: [&str; 6] = [
    "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming",
];
/// Keys of a colour order.
const COLOUR: [&str; 6] = [
    "channels",
    "channel_order",
    "color_mode",
    "color_space",
    "colorspace",
    "input_space",
];
/// Keys of the range of the pixels before mean and std.
const RANGE: [&str; 3] = ["range", "input_range", "value_range"];
/// Steps that leave pictures in red, green and blue as they are, and generation settings of `config.json`.
const HARMLESS_STEPS: [&str; 3] = ["do_convert_rgb", "do_reduce_labels", "do_sample"];
/// Other keys without an effect on the preprocessing.
const HARMLESS: [&str; 10] = [
    "about",
    "data_format",
    "feature_extractor_type",
    "fixed_input_size",
    "image_processor_type",
    "input_data_format",
    "num_classes",
    "pool_size",
    "processor_class",
    "return_tensors",
];
/// Keys of steps in a form that is not read.
const STEPS: [&str; 7] = [
    "normalization",
    "normalize",
    "preprocess",
    "preprocessing",
    "preprocessor",
    "transform",
    "transforms",
];
/// Side from which ConvNeXt's processor squeezes pictures to a square instead of cropping.
const CONVNEXT_SQUARE: f64 = 384.0;
const BGR: &str = "the network gets red, green and blue: reverse the input channels of its first layer, and export it again";
const UNIT: &str = "pixels are in 0..1 before mean and std: fold another range into them (divide a mean and std of 0..255 by 255; \
                    [-1, 1] is a mean and std of 0.5)";

/// The members of an object that describes the preprocessing.
pub(super) struct Words<'t> {
    text: &'t str,
    /// By key in lower case: the spans of key and value.
    members: BTreeMap<String, (Range<usize>, Range<usize>)>,
}

/// Name, span of the key, span of the value, and the value's text if it is not as in the file.
type Input = (
    &'static str,
    Range<usize>,
    Range<usize>,
    Option<&'static str>,
);

impl<'t> Words<'t> {
    pub(super) fn new(
        text: &'t str,
        members: impl IntoIterator<Item = (String, Range<usize>, Range<usize>)>,
    ) -> Words<'t> {
        let set = members
            .into_iter()
            .filter(|(_, _, value)| &text[value.clone()] != "null");
        Words {
            text,
            members: set
                .map(|(key, at, value)| (key.to_lowercase(), (at, value)))
                .collect(),
        }
    }

    /// The keys of `[input]`.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let own = ["resize", "crop", "interpolation", "mean", "std"].map(|key| (key, key));
        let is_normalized = self.flag("do_normalize");
        let is_used = |key: &str| is_normalized || !["mean", "std"].contains(&key);
        let mut found: Vec<(&str, _, _, _)> = Vec::new();
        for (word, key) in own.into_iter().chain(SAME) {
            let known = found.iter().any(|known| known.0 == key);
            if let Some((at, value)) = self.members.get(word).filter(|_| !known && is_used(key)) {
                let own = (key == "interpolation").then(|| filter(&self.value(word)));
                found.push((key, at.clone(), value.clone(), own.flatten()));
            }
        }
        found
    }

    /// The sizes and the absence of a normalization. `is_own` says whether the object is `input`, whose keys must all be known.
    pub(super) fn read(&self, is_own: bool) -> Result<InputOverrides, Vec<Wrong>> {
        let mut wrong: Vec<Wrong> = Vec::new();
        for (key, (at, value)) in &self.members {
            if let Some(message) = self.refuse(key, is_own) {
                let shown = shortened(&self.text[value.clone()], 60);
                let message = format!("{} is {}: {message}", escaped(key), escaped(&shown));
                wrong.push((at.clone(), message));
            }
        }
        let mut input = InputOverrides::default();
        match self.sizes() {
            Ok((resize, crop)) => {
                let sized = [resize, crop].into_iter().flatten();
                if !sized.into_iter().all(|size| size.in_range()) {
                    wrong.push(self.wrong("size", "sizes must be 1 to 16384 pixels"));
                }
                let is_resized = resize.is_some_and(|size| size != Size::None);
                let has_filter = ["interpolation", "resample"]
                    .iter()
                    .any(|key| self.has(key));
                if is_resized && !has_filter {
                    let message = "the interpolation is missing: add \"interpolation\": \"bilinear\" or the filter used in training";
                    wrong.push(self.wrong("size", message));
                }
                (input.resize, input.crop) = (resize, crop);
            }
            Err(one) => wrong.push(one),
        }
        if !self.flag("do_normalize") {
            (input.mean, input.std) = (Some([0.0; 3]), Some([1.0; 3]));
        }
        match wrong.is_empty() {
            true => Ok(input),
            false => Err(wrong),
        }
    }

    /// What to do about a key that cannot be followed; `None` if it can or need not.
    fn refuse(&self, key: &str, is_own: bool) -> Option<String> {
        let value = self.value(key);
        let word = value.as_str().unwrap_or_default();
        let is_off = value == Value::Bool(false);
        let message = match key {
            key if COLOUR.contains(&key) && !word.eq_ignore_ascii_case("rgb") => BGR,
            "do_flip_channel_order" if !is_off => BGR,
            key if RANGE.contains(&key) && !is_unit(&value) => UNIT,
            "do_rescale" if is_off => UNIT,
            "rescale_factor" if (value.as_f64()? * 255.0 - 1.0).abs() > 1e-3 => UNIT,
            "rescale_offset" if !is_off => UNIT,
            "crop_mode" if !["center", "squash"].contains(&word) => {
                "write the preprocessing as \"input\": {\"resize\", \"crop\", \"interpolation\", \"mean\", \"std\"}"
            }
            key if STEPS.contains(&key) && (value.is_object() || value.is_array()) => {
                "write it as \"input\": {\"resize\", \"crop\", \"interpolation\", \"mean\", \"std\"}"
            }
            key if key.starts_with("do_") && !self.is_known(key) && !is_off => {
                "this step is not supported; make it part of the network, or remove it if it does not concern the pixels"
            }
            key if is_own && !key.starts_with("do_") && !self.is_known(key) => {
                "an unknown key; known are resize, crop, interpolation, mean and std"
            }
            _ => return None,
        };
        Some(message.to_string())
    }

    fn is_known(&self, key: &str) -> bool {
        const OTHERS: [&str; 19] = [
            "resize",
            "crop",
            "interpolation",
            "mean",
            "std",
            "size",
            "crop_size",
            "crop_pct",
            "crop_mode",
            "input_size",
            "do_resize",
            "do_center_crop",
            "do_normalize",
            "do_rescale",
            "do_flip_channel_order",
            "rescale_factor",
            "rescale_offset",
            "label_names",
            "test_input_size",
        ];
        let lists: [&[&str]; 6] = [&OTHERS, &COLOUR, &RANGE, &HARMLESS, &HARMLESS_STEPS, &STEPS];
        SAME.iter().any(|same| same.0 == key) || lists.iter().any(|list| list.contains(&key))
    }

    /// Resize and crop.
    fn sizes(&self) -> Result<(Option<Size>, Option<Size>), Wrong> {
        let crop_pct = match self.value("crop_pct") {
            Value::Null => None,
            value => Some((value.as_f64().filter(|part| *part > 0.0)).ok_or_else(|| {
                self.wrong(
                    "crop_pct",
                    "crop_pct must be a positive number such as 0.875",
                )
            })?),
        };
        if self.has("input_size") && !self.has("resize") {
            return self
                .timm_sizes(crop_pct)
                .map(|(resize, crop)| (Some(resize), Some(crop)));
        }
        let is_cropped = self.flag("do_center_crop");
        let crop =
            match self.value("crop_size") {
                Value::Null if is_cropped => None,
                _ if !is_cropped => Some(Size::None),
                value => Some(side(&value).map(Size::Short).or(exact(&value)).ok_or_else(
                    || {
                        self.wrong(
                            "crop_size",
                            "crop_size must be a number of pixels or {\"height\", \"width\"}",
                        )
                    },
                )?),
            };
        if !self.flag("do_resize") {
            return Ok((Some(Size::None), crop));
        }
        let size = self.value("size");
        if size.is_null() {
            return Ok((None, crop));
        }
        let has_crop = crop.is_some_and(|crop| crop != Size::None);
        let edge = side(&size["shortest_edge"]).filter(|_| size["longest_edge"].is_null());
        let edge = edge.or(side(&size).filter(|_| crop_pct.is_some()));
        Ok(match (edge, crop_pct) {
            (Some(edge), Some(part)) if has_crop || f64::from(edge) < CONVNEXT_SQUARE => {
                let scaled = (f64::from(edge) / part) as u32;
                (Some(Size::Short(scaled)), crop.or(Some(Size::Short(edge))))
            }
            (Some(edge), Some(_)) => (Some(square(edge)), crop),
            (Some(edge), None) => (Some(Size::Short(edge)), crop),
            (None, None) if side(&size).is_some() && has_crop => {
                let message = "size is a number, which some processors take for the shorter side and some for a square: write \
                               {\"shortest_edge\": …} or {\"height\": …, \"width\": …}";
                return Err(self.wrong("size", message));
            }
            (None, _) => {
                let size = side(&size).map(square).or(exact(&size));
                let size = size.filter(|_| crop_pct.is_none()).ok_or_else(|| {
                    let message = "size must be {\"shortest_edge\": …} or {\"height\": …, \"width\": …} in pixels";
                    self.wrong("size", message)
                })?;
                (Some(size), crop)
            }
        })
    }

    /// Sizes from `input_size`, `crop_pct` and `crop_mode`.
    fn timm_sizes(&self, crop_pct: Option<f64>) -> Result<(Size, Size), Wrong> {
        let sides = self.value("input_size");
        let sides: Vec<u32> = (sides.as_array().into_iter().flatten())
            .filter_map(side)
            .collect();
        let [3, height, width] = sides[..] else {
            return Err(self.wrong("input_size", "input_size must be [3, height, width]"));
        };
        let Some(part) = crop_pct else {
            let message = "crop_pct is missing beside input_size: add it, or \"resize\" and \"crop\" in pixels";
            return Err(self.wrong("input_size", message));
        };
        let scaled = |side: u32| (f64::from(side) / part).floor() as u32;
        let crop = Size::Exact { height, width };
        if self.value("crop_mode") == "squash" {
            let (height, width) = (scaled(height), scaled(width));
            return Ok((Size::Exact { height, width }, crop));
        }
        if height != width {
            let message = "the centre of an input that is not square is not supported in timm's words: write \"resize\" and \"crop\"";
            return Err(self.wrong("input_size", message));
        }
        Ok((Size::Short(scaled(height)), crop))
    }

    fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// The value of a key; null without one.
    fn value(&self, key: &str) -> Value {
        let found = self.members.get(key);
        found.map_or(Value::Null, |(_, span)| {
            serde_json::from_str(&self.text[span.clone()]).unwrap_or(Value::Null)
        })
    }

    /// Whether a step is done; steps are unless set to false.
    fn flag(&self, key: &str) -> bool {
        self.value(key) != Value::Bool(false)
    }

    /// A complaint at a key, or at the first one if it is absent.
    fn wrong(&self, key: &str, message: &str) -> Wrong {
        let first = self.members.values().next();
        let at = self.members.get(key).or(first);
        (at.map_or(0..0, |at| at.0.clone()), message.to_string())
    }
}

/// A number of pixels.
fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok())
}

fn square(side: u32) -> Size {
    Size::Exact {
        height: side,
        width: side,
    }
}

/// `{"height": …, "width": …}`
fn exact(value: &Value) -> Option<Size> {
    Some(Size::Exact {
        height: side(&value["height"])?,
        width: side(&value["width"])?,
    })
}

/// Whether a range is 0..1: in words, or as a list.
fn is_unit(range: &Value) -> bool {
    match range {
        Value::String(words) => {
            let words: String = words.chars().filter(|c| !c.is_whitespace()).collect();
            let words = words.trim_start_matches(['[', '(']);
            let ends = [
                "0..1", "0-1", "0,1", "0.0..1.0", "0.0,1.0", "0.0-1.0", "0to1",
            ];
            ends.iter().any(|ends| {
                let rest = words.strip_prefix(ends);
                rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
            })
        }
        Value::Array(ends) => {
            let ends: Vec<Option<f64>> = ends.iter().map(Value::as_f64).collect();
            ends == [Some(0.0), Some(1.0)]
        }
        _ => false,
    }
}

/// The filter with Pillow's number, or the one named in capitals or as in `InterpolationMode.BICUBIC`.
fn filter(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(name) => {
            let name = name.rsplit('.').next()?.to_lowercase();
            FILTERS.into_iter().find(|known| *known == name)
        }
        value => FILTERS.get(usize::try_from(value.as_u64()?).ok()?).copied(),
    }
}

/// Class names in the order of the logits, of a list, names by index (`id2label`) or indices by name (`label2id`).
pub(super) fn classes(value: &Value) -> Option<Vec<String>> {
    let pairs: Option<Vec<(usize, &str)>> = match value {
        Value::Array(names) => (names.iter().enumerate())
            .map(|(index, name)| Some((index, name.as_str()?)))
            .collect(),
        Value::Object(pairs) => (pairs.iter())
            .map(|(key, value)| match value {
                Value::String(name) => Some((key.parse().ok()?, name.as_str())),
                index => Some((usize::try_from(index.as_u64()?).ok()?, key.as_str())),
            })
            .collect(),
        _ => None,
    };
    let mut pairs = pairs?;
    pairs.sort_unstable();
    let is_whole = pairs.iter().map(|pair| pair.0).eq(0..pairs.len());
    is_whole.then(|| pairs.into_iter().map(|pair| pair.1.to_string()).collect())
}
