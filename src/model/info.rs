//! What a network is, read from its file.

use std::path::{Path, PathBuf};

use prospect_common::{Complaint, Complaints, Error, Origin, Result, text::nearest};
use prospect_dataset::image::{InputOverrides, InputSpec, Interpolation, Resize};

use super::{
    analysis::{Analysis, Tap},
    archive::Archive,
    graph::{Graph, shape_text},
    layer::Layer,
    layer_choice::LayerChoice,
    operators,
    sidecar::Sidecar,
};

const EXTRACT_LAYERS: Origin = Origin::Setting {
    section: "extract",
    key: "layers",
};
const FEATURE_LAYER: Origin = Origin::Setting {
    section: "extract",
    key: "feature_layer",
};

/// What a model file tells without running it.
pub struct ModelInfo {
    pub path: PathBuf,
    /// BLAKE3 of the file's bytes, hexadecimal.
    pub digest: String,
    pub graph: Graph,
    pub analysis: Analysis,
    pub sidecar: Sidecar,
}

impl ModelInfo {
    /// Opens a `.pt2` file; `sidecar` says how images become its input and what its classes are called.
    ///
    /// # Errors
    /// A file that is no exported network of one image batch in, one logits tensor out; operators that may not run.
    pub fn open(path: &Path, sidecar: Sidecar) -> Result<ModelInfo> {
        let mut archive = Archive::open(path)?;
        let graph = Graph::parse(&archive.graph_json()?, path)?;
        // Named early: pickled weights are refused before anything else is believed.
        archive.weights()?;
        archive.constants()?;
        operators::check(&graph, path)?;
        let classes = sidecar.classes.len() as i64;
        if classes != 0 && classes != graph.n_classes() {
            return Err(Error::invalid(
                path,
                format!("as many logits as the sidecar names classes, {classes}"),
                format!("{}", graph.n_classes()),
                "correct \"classes\" in the sidecar",
            ));
        }
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(path).map_err(Error::io(path, "opening the model"))?;
        hasher
            .update_reader(file)
            .map_err(Error::io(path, "reading the model"))?;
        Ok(ModelInfo {
            path: path.to_path_buf(),
            digest: hasher.finalize().to_hex().to_string(),
            analysis: Analysis::new(&graph),
            graph,
            sidecar,
        })
    }

    /// Class names in the order of the logits; `class 0`, `class 1`, … where the sidecar names none.
    pub fn classes(&self) -> Vec<String> {
        if self.sidecar.classes.is_empty() {
            return (0..self.graph.n_classes())
                .map(|class| format!("class {class}"))
                .collect();
        }
        self.sidecar.classes.clone()
    }

    /// The preprocessing: `[input]` of the configuration over the sidecar.
    ///
    /// # Errors
    /// What neither of them says, or sizes that are not the network's.
    pub fn input_spec(&self, overrides: &InputOverrides) -> Result<InputSpec> {
        let said = overrides.or(&self.sidecar.input);
        let mut missing = Complaints::default();
        for (key, or, there) in [
            (
                "resize",
                " or crop",
                said.resize.is_some() || said.crop.is_some(),
            ),
            ("mean", "", said.mean.is_some()),
            ("std", "", said.std.is_some()),
        ] {
            if !there {
                let sidecar = self.path.with_extension("json");
                let predicate = format!(
                    "{or}: neither pipeline.toml nor the sidecar {} says it; add it to one of them",
                    sidecar.display()
                );
                missing.push(Complaint::predicate("input", key, predicate));
            }
        }
        missing.verdict()?;
        let spec = said.apply(InputSpec {
            resize: Resize::None,
            crop: None,
            interpolation: Interpolation::Bilinear,
            mean: [0.0; 3],
            std: [1.0; 3],
        });
        let (height, width) = self.graph.input_size();
        let fed = match (spec.crop, spec.resize) {
            (Some((h, w)), _) => Some((h, w)),
            (None, Resize::Exact { height, width }) => Some((height, width)),
            (None, _) => None,
        };
        if fed.map(|(h, w)| (i64::from(h), i64::from(w))) != Some((height, width)) {
            let predicate = format!(
                "(or an exact resize) must give {height}x{width} pixels, the network's input, but gives {}; \
                 change it, or export the network for the size you want",
                fed.map_or("any size".to_string(), |(h, w)| format!("{h}x{w}"))
            );
            return Err(Complaint::predicate("input", "crop", predicate).into());
        }
        Ok(spec)
    }

    /// The layers whose units are kept: those that `[extract] layers` names, or the default ones.
    ///
    /// # Errors
    /// As [`ModelInfo::named_layers`].
    pub fn layers(&self, choice: &LayerChoice) -> Result<Vec<Layer>> {
        match choice {
            LayerChoice::Auto => Ok((self.analysis.layers.iter())
                .map(|&index| Layer::from(&self.analysis.taps[index]))
                .collect()),
            LayerChoice::Named(names) => self.named_layers(names, EXTRACT_LAYERS),
        }
    }

    /// The layers of these names, which `origin` gives.
    ///
    /// # Errors
    /// Every name that is no tap, with its nearest matches, and every tap that is no spatial map.
    pub fn named_layers(&self, names: &[String], origin: Origin) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        let mut complaints = Complaints::default();
        for name in names {
            match self.named(name, origin) {
                Ok(tap) if self.analysis.is_spatial(&self.graph, tap.value) => {
                    if layers.iter().any(|known: &Layer| known.name == tap.name) {
                        complaints.push(origin.complaint(format!("{name} is named twice")));
                    }
                    layers.push(Layer::from(tap));
                }
                Ok(tap) => complaints.push(origin.complaint(format!(
                    "{name} gives {}, not a map [n, channels, rows, columns] of more than one cell; \
                     see `prospect model inspect {}`",
                    shape_text(self.graph.shape(tap.value)),
                    self.path.display()
                ))),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints.verdict()?;
        Ok(layers)
    }

    /// The value whose vector stands for an image: a named tap, or (`auto`) the input of the last layer with weights.
    ///
    /// # Errors
    /// A name that is no tap; a network without such a layer.
    pub fn feature(&self, name: &str) -> Result<Layer> {
        if name != "auto" {
            return Ok(self.named(name, FEATURE_LAYER).map(Layer::from)?);
        }
        let value = self.analysis.head_input.ok_or_else(|| {
            FEATURE_LAYER.complaint(
                "the network has no linear or convolution layer to take the input of; name a module",
            )
        })?;
        let name = self
            .analysis
            .taps
            .iter()
            .rev()
            .find(|tap| tap.value == value);
        Ok(Layer {
            name: name.map_or_else(
                || format!("input of {}", self.head_name()),
                |tap| tap.name.clone(),
            ),
            class: name.map_or(String::new(), |tap| tap.class.clone()),
            value,
        })
    }

    /// Module path of the last layer with weights.
    pub fn head_name(&self) -> &str {
        self.analysis
            .head_node
            .map_or("", |node| self.graph.nodes[node].module())
    }

    fn named(&self, name: &str, origin: Origin) -> Result<&Tap, Complaint> {
        self.analysis.tap(name).ok_or_else(|| {
            let known: Vec<&str> = self.analysis.taps.iter().map(|tap| &*tap.name).collect();
            origin.complaint(format!(
                "the network has no module {name}; {}; all: `prospect model inspect {}`",
                nearest(name, &known),
                self.path.display()
            ))
        })
    }
}
