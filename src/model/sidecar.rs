//! The JSON file next to a model, written by `jobs/export_model.py`: preprocessing and class names.

use prospect_dataset::image::InputOverrides;

/// Contents of the sidecar.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    /// Preprocessing; `[input]` of pipeline.toml overrides it key by key.
    pub input: InputOverrides,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
}
