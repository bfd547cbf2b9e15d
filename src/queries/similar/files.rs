//! Features of files outside the run, computed with the run's network and settings.

use std::{fs, path::Path};

use prospect_common::{Complaint, Error, Result};
use prospect_dataset::image::{self, DecodeOptions, InputSpec};
use prospect_engine::{Context, tables::layers::input_spec};
use prospect_model::{
    Layer, ModelInfo, device,
    executor::Precision,
    forward::{Forward, Wanted},
};
use prospect_store::StageRecord;

use super::vectors::finite;

/// The network as `extract` ran it, loaded at the first file.
pub struct Files<'a> {
    ctx: &'a Context<'a>,
    extract: &'a StageRecord,
    feature_layer: &'a str,
    loaded: Option<Loaded>,
}

struct Loaded {
    forward: Forward,
    spec: InputSpec,
    decode: DecodeOptions,
    classes: Vec<String>,
}

/// The decoding options of `extract`.
pub fn decode_options(ctx: &Context, extract: &StageRecord) -> DecodeOptions {
    let recorded = |name: &str| extract.parameters.get(name);
    let images = &ctx.config.images;
    DecodeOptions {
        max_pixels: (recorded("max_pixels").and_then(|n| n.as_u64())).unwrap_or(images.max_pixels),
        exif_orientation: (recorded("exif_orientation").and_then(|yes| yes.as_bool()))
            .unwrap_or(images.exif_orientation),
        depth: (recorded("depth").and_then(|depth| depth.as_str()?.parse().ok()))
            .unwrap_or(images.depth),
    }
}

/// The bytes of a regular file.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let status = fs::metadata(file).map_err(|error| error.to_string())?;
    if !status.is_file() {
        return Err("not a regular file".into());
    }
    fs::read(file).map_err(|error| error.to_string())
}

impl<'a> Files<'a> {
    pub fn new(
        ctx: &'a Context<'a>,
        extract: &'a StageRecord,
        feature_layer: &'a str,
    ) -> Files<'a> {
        Files {
            ctx,
            extract,
            feature_layer,
            loaded: None,
        }
    }

    /// The file's feature vector and predicted class; the inner error concerns the file. `name` is its path as the user
    /// gave it.
    ///
    /// # Errors
    /// The model is missing, or is not the run's.
    pub fn query(&mut self, file: &Path, name: &str) -> Result<Result<(Vec<f32>, String), String>> {
        let loaded = match &self.loaded {
            Some(loaded) => loaded,
            None => {
                let loaded = self.load(name)?;
                self.loaded.insert(loaded)
            }
        };
        let prepared = read(file).and_then(|bytes| {
            let image = image::decode(&bytes, &loaded.decode).map_err(|error| error.to_string())?;
            let input = image::preprocess(&image, &loaded.spec);
            input.map_err(|error| error.to_string())
        });
        let (pixels, _) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let batch = loaded.forward.run(&pixels, 1)?;
        let mut best = 0;
        for (class, logit) in batch.logits.iter().enumerate() {
            if *logit > batch.logits[best] {
                best = class;
            }
        }
        let class = loaded.classes.get(best).cloned().unwrap_or_default();
        Ok(finite(batch.features).map(|vector| (vector, class)))
    }

    fn load(&self, name: &str) -> Result<Loaded> {
        let config = self.ctx.config;
        if config.model.path.is_none() {
            let predicate = format!(
                "is missing, but {name} is outside the run and needs the network; set it to the run's network, or query \
                 images of the run"
            );
            return Err(Complaint::predicate("model", "path", predicate).into());
        }
        let model = self.ctx.model()?;
        let recorded =
            |name: &str| (self.extract.parameters.get(name)).and_then(|text| text.as_str());
        if recorded("model") != Some(model.digest.as_str()) {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            return Err(Error::invalid(
                &model.path,
                format!(
                    "the network that computed the run's features (BLAKE3 {}…)",
                    recorded("model").map_or("unknown".into(), short)
                ),
                format!("another network ({}…)", short(&model.digest)),
                "set [model] path to the run's network, or run `prospect run extract` with this one",
            ));
        }
        let feature = feature_layer(model, self.feature_layer)?;
        let spec = input_spec(&self.ctx.run.manifest()?)?;
        let precision = recorded("dtype").and_then(|dtype| dtype.parse().ok());
        let precision = precision.unwrap_or(Precision::Float32);
        let network = model.load(device::choose(config.model.device)?, precision)?;
        let wanted = Wanted {
            feature,
            units: Vec::new(),
            maps: Vec::new(),
        };
        Ok(Loaded {
            forward: Forward::new(&network, &wanted, spec.mean, spec.std)?,
            spec,
            decode: decode_options(self.ctx, self.extract),
            classes: model.classes(),
        })
    }
}

/// The layer of a recorded name. If `auto` chose the head's input, the name is not a module's.
fn feature_layer(model: &ModelInfo, name: &str) -> Result<Layer> {
    match model.feature("auto") {
        Ok(auto) if auto.name == name => Ok(auto),
        _ => model.feature(name),
    }
}
