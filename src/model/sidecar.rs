//! The JSON file beside a model: preprocessing and class names, as `jobs/export_model.py` writes them.

use std::path::Path;

use crate::{
    config::{InputOverrides, read_sidecar},
    error::{Error, Result},
};

/// A class list longer than this is no class list.
const MAX_BYTES: u64 = 64 << 20;

/// Contents of the sidecar.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    /// Preprocessing; `[input]` of pipeline.toml wins over it, key by key.
    pub input: InputOverrides,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
}

impl Sidecar {
    /// Reads a sidecar.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what is expected.
    pub fn read(path: &Path) -> Result<Sidecar> {
        let length = std::fs::metadata(path)
            .map_err(Error::io(path, "reading the model's sidecar"))?
            .len();
        if length > MAX_BYTES {
            return Err(Error::invalid(
                path,
                "preprocessing and class names in JSON",
                format!("{length} bytes"),
                "name the right file in [model] sidecar",
            ));
        }
        let text = std::fs::read_to_string(path)
            .map_err(Error::io(path, "reading the model's sidecar"))?;
        let (input, classes) = read_sidecar(path, &text)?;
        Ok(Sidecar { input, classes })
    }
}
