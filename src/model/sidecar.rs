//! The JSON file beside a model: preprocessing and class names, as `jobs/export_model.py` writes them.

use prospect_dataset::image::InputOverrides;

/// Contents of the sidecar.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    /// Preprocessing; `[input]` of pipeline.toml wins over it, key by key.
    pub input: InputOverrides,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
}
