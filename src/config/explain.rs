//! `[explain]` and `[backprop]`: where the network looks.

use std::path::PathBuf;

use prospect_model::{CamMethod, LayerChoice, ReluRule};
use serde::Serialize;

use super::{
    reader::{SectionReader, all_distinct},
    settings::Settings,
    values::{ClassChoice, MapStorage},
};

/// `[explain]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainConfig {
    /// Layers to explain; `auto` is the last spatial layer before the head.
    pub layers: LayerChoice,
    pub methods: Vec<CamMethod>,
    pub classes: Vec<ClassChoice>,
    pub maps: MapStorage,
    /// Table of boxes, one per row.
    pub boxes: Option<PathBuf>,
    /// Overlays drawn per class.
    pub pictures: usize,
    /// Maximum number of overlays, over all classes.
    pub max_pictures: usize,
}

/// `[backprop]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackpropConfig {
    /// Number of most selective units per layer whose patches are traced back to pixels.
    pub units_per_layer: usize,
    pub rules: Vec<ReluRule>,
}

impl ExplainConfig {
    pub(super) fn read(settings: &mut Settings) -> ExplainConfig {
        let mut section = SectionReader::new(settings, "explain");
        ExplainConfig {
            layers: section.layers("layers"),
            methods: section.choices(
                "methods",
                "methods",
                vec![CamMethod::GradCam, CamMethod::Cam],
                &CamMethod::NAMES,
                |_| true,
            ),
            classes: section.worded(
                "classes",
                vec![ClassChoice::Predicted, ClassChoice::Labelled],
                "a list of distinct classes, each \"predicted\", \"labelled\", \"top-2\" to \"top-100\", \"class NAME\" or \"class #INDEX\"",
                &["predicted", "labelled", "top-2"],
                |classes| !classes.is_empty() && all_distinct(classes),
            ),
            maps: section.choice("maps", MapStorage::Stored, &MapStorage::NAMES),
            boxes: section.path("boxes"),
            pictures: section.value("pictures", 2, "an integer from 0 to 1000", |n| {
                *n <= 1000
            }),
            max_pictures: section.value(
                "max_pictures",
                500,
                "an integer from 0 to 1000000",
                |n| *n <= 1_000_000,
            ),
        }
    }
}

impl BackpropConfig {
    pub(super) fn read(settings: &mut Settings) -> BackpropConfig {
        let mut section = SectionReader::new(settings, "backprop");
        BackpropConfig {
            units_per_layer: section.value(
                "units_per_layer",
                4,
                "an integer from 0 to 1000",
                |n| *n <= 1000,
            ),
            rules: section.choices(
                "rules",
                "rules",
                vec![ReluRule::Guided],
                &ReluRule::NAMES,
                |rules| !rules.is_empty(),
            ),
        }
    }
}
