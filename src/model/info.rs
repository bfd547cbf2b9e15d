//! Description of a network, read from its file.

use std::path::{Path, PathBuf};

use prospect_common::{Complaint, Complaints, Error, Origin, Result, text::similar_names};
use prospect_dataset::image::{InputOverrides, InputSpec, Interpolation, Resize};

use super::{
    analysis::{Analysis, Tap},
    archive::Archive,
    checks,
    graph::{Graph, shape_text},
    layer::Layer,
    layer_choice::LayerChoice,
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

/// Description of a network, obtained without running it.
pub struct ModelInfo {
    pub path: PathBuf,
    /// BLAKE3 of the file's bytes, hexadecimal.
    pub digest: String,
    pub graph: Graph,
    pub analysis: Analysis,
    pub sidecar: Sidecar,
}

impl ModelInfo {
    /// Opens a `.pt2` file; `sidecar` holds its preprocessing and class names.
    ///
    /// # Errors
    /// A file that is not an exported network from one image batch to one logits tensor; disallowed operators; a network whose
    /// results are random, depend on the other pictures of a batch, or are not logits.
    pub fn open(path: &Path, sidecar: Sidecar) -> Result<ModelInfo> {
        let mut archive = Archive::open(path)?;
        let graph = Graph::parse(&archive.graph_json()?, path)?;
        // Read early, to refuse pickled weights first.
        archive.weights()?;
        archive.constants()?;
        checks::check(&graph, path)?;
        let classes = sidecar.classes.len() as i64;
        if classes != 0 && classes != graph.n_classes() {
            return Err(Error::invalid(
                path,
                format!("one logit for each of the sidecar's {classes} classes"),
                format!("{} logits", graph.n_classes()),
                "correct \"classes\" in the sidecar",
            ));
        }
        let analysis = Analysis::new(&graph);
        if classes == 0 {
            checks::classifier(&graph, &analysis, path)?;
        }
        Ok(ModelInfo {
            path: path.to_path_buf(),
            digest: archive.into_digest()?,
            analysis,
            graph,
            sidecar,
        })
    }

    /// Class names in the order of the logits; `class 0`, `class 1`, … if the sidecar has none.
    pub fn classes(&self) -> Vec<String> {
        if self.sidecar.classes.is_empty() {
            return (0..self.graph.n_classes())
                .map(|class| format!("class {class}"))
                .collect();
        }
        self.sidecar.classes.clone()
    }

    /// The preprocessing: the sidecar's, overridden by `[input]` of the configuration.
    ///
    /// # Errors
    /// A value that both lack, or a size other than the network's.
    pub fn input_spec(&self, overrides: &InputOverrides) -> Result<InputSpec> {
        let merged = overrides.or(&self.sidecar.input);
        let mut missing = Complaints::default();
        for (key, or, present) in [
            (
                "resize",
                "or crop ",
                merged.resize.is_some() || merged.crop.is_some(),
            ),
            ("mean", "", merged.mean.is_some()),
            ("std", "", merged.std.is_some()),
        ] {
            if !present {
                let sidecar = self.path.with_extension("json");
                let predicate = format!(
                    "{or}is missing from both pipeline.toml and the sidecar {}; add it to one of them",
                    sidecar.display()
                );
                missing.push(Complaint::predicate("input", key, predicate));
            }
        }
        missing.into_result()?;
        let spec = merged.apply(InputSpec {
            resize: Resize::None,
            crop: None,
            interpolation: Interpolation::Bilinear,
            mean: [0.0; 3],
            std: [1.0; 3],
        });
        let (height, width) = self.graph.input_size();
        let size = match (spec.crop, spec.resize) {
            (Some((h, w)), _) => Some((h, w)),
            (None, Resize::Exact { height, width }) => Some((height, width)),
            (None, _) => None,
        };
        if size.map(|(h, w)| (i64::from(h), i64::from(w))) != Some((height, width)) {
            let predicate = format!(
                "(or an exact resize) must give {height}x{width} pixels, the network's input, but gives {}; \
                 change it, or export the network for the size you want",
                size.map_or("any size".to_string(), |(h, w)| format!("{h}x{w}"))
            );
            return Err(Complaint::predicate("input", "crop", predicate).into());
        }
        Ok(spec)
    }

    /// The layers whose units are kept: those in `[extract] layers`, or the default ones.
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

    /// The layers with these names; `origin` is the setting that lists them.
    ///
    /// # Errors
    /// Every name that is not a tap, with its nearest matches, and every tap that is not a spatial map.
    pub fn named_layers(&self, names: &[String], origin: Origin) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        let mut complaints = Complaints::default();
        for name in names {
            match self.named(name, origin) {
                Ok(tap) if self.analysis.is_spatial(&self.graph, tap.value) => {
                    if layers.iter().any(|known: &Layer| known.name == tap.name) {
                        complaints.push(origin.complaint(format!("{name} is listed twice")));
                    }
                    layers.push(Layer::from(tap));
                }
                Ok(tap) => complaints.push(origin.complaint(format!(
                    "{name} has shape {}, not a map [n, channels, rows, columns] of more than one cell; \
                     see `prospect model inspect {}`",
                    shape_text(self.graph.shape(tap.value)),
                    self.path.display()
                ))),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints.into_result()?;
        Ok(layers)
    }

    /// The layer of the feature vector: a named tap, or (`auto`) the input of the last layer with weights.
    ///
    /// # Errors
    /// A name that is not a tap; a network without layers with weights.
    pub fn feature(&self, name: &str) -> Result<Layer> {
        if name != "auto" {
            return Ok(self.named(name, FEATURE_LAYER).map(Layer::from)?);
        }
        let value = self.analysis.head_input.ok_or_else(|| {
            FEATURE_LAYER.complaint(
                "the network has no linear or convolution layer for \"auto\"; choose a module",
            )
        })?;
        let tap = self
            .analysis
            .taps
            .iter()
            .rev()
            .find(|tap| tap.value == value);
        Ok(Layer {
            name: tap.map_or_else(
                || format!("input of {}", self.head_name()),
                |tap| tap.name.clone(),
            ),
            class: tap.map_or(String::new(), |tap| tap.class.clone()),
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
                "the network has no module {name}; {}; `prospect model inspect {}` lists all",
                similar_names(name, &known),
                self.path.display()
            ))
        })
    }
}
