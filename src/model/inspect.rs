//! Data of `prospect model`: the table of modules and the filters of the first convolution.

use std::{collections::HashSet, path::Path};

use prospect_common::{Error, Result};
use serde::Serialize;

use super::{
    ModelInfo,
    archive::Archive,
    device,
    executor::{Network, Precision},
    graph::{Graph, Source, ValueId, shape_text},
    operators,
};
use crate::device::DeviceChoice;

/// One module call of a network.
#[derive(Clone, Debug, Serialize)]
pub struct ModuleRow {
    /// Module path, with the call's number if the module is called several times.
    pub module: String,
    pub kind: String,
    /// Sizes with `n` for the batch.
    pub shape: String,
    /// `None` if a cell sees the whole image, or the value is not a map.
    pub receptive_field: Option<ReceptiveField>,
    /// Number of parameters of the module and its children.
    pub parameters: i64,
}

/// Size, stride and start of the first cell along rows and columns, in pixels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReceptiveField {
    pub size: [i64; 2],
    pub stride: [i64; 2],
    pub start: [i64; 2],
}

/// Weights of the first convolution.
#[derive(Clone, Debug)]
pub struct FirstFilters {
    pub name: String,
    /// `[out, in, height, width]`
    pub shape: [usize; 4],
    /// Row-major over `shape`.
    pub values: Vec<f32>,
}

impl ModelInfo {
    /// Receptive field of a map's cells; `None` if the value is not a map or a cell sees the whole image.
    pub fn receptive_field(&self, value: usize) -> Option<ReceptiveField> {
        let [y, x] = self.analysis.fields[value]
            .filter(|_| self.analysis.is_spatial(&self.graph, value))?
            .axes?;
        Some(ReceptiveField {
            size: [y.size, x.size],
            stride: [y.stride, x.stride],
            start: [y.start, x.start],
        })
    }

    /// Number of parameters of a module and its children; `path` has no call number.
    pub fn parameters(&self, path: &str) -> i64 {
        let inside = format!("{path}.");
        self.graph
            .sources
            .iter()
            .filter_map(|(id, source)| match source {
                Source::Weight(name) if name.starts_with(&inside) && !is_statistic(name) => {
                    self.graph.shape(*id)
                }
                _ => None,
            })
            .map(|shape| shape.iter().flatten().product::<i64>())
            .sum()
    }

    /// Every module call, in order of completion.
    pub fn modules(&self) -> Vec<ModuleRow> {
        self.analysis
            .taps
            .iter()
            .map(|tap| ModuleRow {
                module: tap.name.clone(),
                kind: tap.class.clone(),
                shape: shape_text(self.graph.shape(tap.value)),
                receptive_field: self.receptive_field(tap.value),
                parameters: self.parameters(tap.name.split('#').next().unwrap_or(&tap.name)),
            })
            .collect()
    }

    /// The filters of the first convolution.
    ///
    /// # Errors
    /// A network without one.
    pub fn first_filters(&self) -> Result<FirstFilters> {
        let (weight, name) = first_convolution(&self.graph).ok_or_else(|| {
            Error::invalid(
                &self.path,
                "a network with a two-dimensional convolution",
                "none",
                "the network has no filters to show",
            )
        })?;
        let network = self.load_some(&HashSet::from([weight]))?;
        let (values, shape) = network.weight(weight)?;
        Ok(FirstFilters {
            name,
            shape,
            values,
        })
    }

    /// Weights `[classes, dimension]` and bias `[classes]` of the linear layer from the feature vector to the logits; `None` if
    /// the logits are not linear in the features.
    pub fn last_linear(&self, feature_layer: &str) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        let node = (self.analysis.head_node).map(|node| &self.graph.nodes[node]);
        let Some(node) = node.filter(|node| operators::base_name(node) == "linear") else {
            return Ok(None);
        };
        let stored = |name: &str| {
            let id = node.tensor(name)?;
            let is_weight =
                |source: &(usize, Source)| source.0 == id && matches!(source.1, Source::Weight(_));
            self.graph.sources.iter().any(is_weight).then_some(id)
        };
        let (Some(weight), bias) = (stored("weight"), stored("bias")) else {
            return Ok(None);
        };
        if Some(self.feature(feature_layer)?.value) != self.analysis.head_input
            || node.output() != Some(self.graph.logits)
            || (bias.is_none() && node.tensor("bias").is_some())
        {
            return Ok(None);
        }
        let network = self.load_some(&[weight].into_iter().chain(bias).collect())?;
        let numbers = |id: usize| {
            let tensor = network.parameter(id)?.to_kind(tch::Kind::Float);
            Vec::<f32>::try_from(tensor.contiguous().view(-1)).ok()
        };
        let Some(weights) = numbers(weight) else {
            return Ok(None);
        };
        let n_classes = usize::try_from(self.graph.n_classes()).unwrap_or(0);
        let bias = bias
            .and_then(numbers)
            .unwrap_or_else(|| vec![0.0; n_classes]);
        Ok(Some((weights, bias)))
    }

    /// Loads only these weights, on the CPU.
    fn load_some(&self, weights: &HashSet<ValueId>) -> Result<Network> {
        let (cpu, precision) = (device::choose(DeviceChoice::Cpu)?, Precision::Float32);
        self.network(cpu, precision, Some(weights))
    }

    /// Loads the network onto a device and runs it once (`Network::probe`).
    ///
    /// # Errors
    /// As `Network::load` and `Network::probe`; a file that changed after it was opened.
    pub fn load(&self, device: tch::Device, precision: Precision) -> Result<Network> {
        let network = self.network(device, precision, None)?;
        network.probe(&self.path)?;
        Ok(network)
    }

    /// The network with the weights in `needed`, or all, from the same bytes as this description.
    pub(super) fn network(
        &self,
        device: tch::Device,
        precision: Precision,
        needed: Option<&HashSet<ValueId>>,
    ) -> Result<Network> {
        let mut archive = Archive::open(&self.path)?;
        let graph = self.graph.clone();
        let network = Network::load(&mut archive, graph, device, precision, needed)?;
        let digest = archive.into_digest()?;
        if digest != self.digest {
            return Err(Error::invalid(
                &self.path,
                format!(
                    "the network {} that this command opened",
                    &self.digest[..12]
                ),
                format!("another one, {}", &digest[..12]),
                "the file was replaced meanwhile: run the command again",
            ));
        }
        Ok(network)
    }
}

/// Whether the name is a running statistic of BatchNorm: a buffer, not a parameter.
fn is_statistic(name: &str) -> bool {
    ["running_mean", "running_var", "num_batches_tracked"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn first_convolution(graph: &Graph) -> Option<(usize, String)> {
    let node = graph
        .nodes
        .iter()
        .find(|node| operators::base_name(node) == "conv2d")?;
    let weight = node.tensor("weight")?;
    graph.sources.iter().find_map(|(id, source)| match source {
        Source::Weight(name) if *id == weight => Some((weight, name.clone())),
        _ => None,
    })
}

/// The default layers, and whether CAM is exact, as lines of text.
pub fn defaults(info: &ModelInfo) -> Vec<String> {
    let mut lines = Vec::new();
    let names: Vec<&str> = info
        .analysis
        .layers
        .iter()
        .map(|&index| info.analysis.taps[index].name.as_str())
        .collect();
    lines.push(match names.as_slice() {
        [] => "tapped layers: none (no spatial layer is on every path)".to_string(),
        names => format!("tapped layers: {}", names.join(", ")),
    });
    match info.feature("auto") {
        Ok(layer) => lines.push(format!(
            "feature layer: {} {}, the input of {}",
            layer.name,
            shape_text(info.graph.shape(layer.value)),
            info.head_name()
        )),
        Err(error) => lines.push(format!("feature layer: {error}")),
    }
    match info.analysis.explanation {
        Some(index) => {
            let tap = &info.analysis.taps[index];
            let cam = match info.analysis.cam_exact(&info.graph, tap.value) {
                Ok(_) => "CAM is exact there".to_string(),
                Err(why) => format!("CAM is not exact there: {why}"),
            };
            lines.push(format!(
                "explanation layer: {} {}; {cam}",
                tap.name,
                shape_text(info.graph.shape(tap.value))
            ));
        }
        None => lines.push("explanation layer: none".to_string()),
    }
    lines
}

/// The file name of a model, for display.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
