//! Class activation maps: from a layer's feature maps to one map per image, class and method.
//!
//! Only the head runs, the subgraph from the layer to the logits; its gradient at the layer needs neither pixels nor backbone.

use std::collections::{HashMap, HashSet};

use prospect_common::{Error, Origin, Result, text::did_you_mean};
use tch::{Device, Kind as Dtype, Tensor};

use super::{
    Layer, ModelInfo,
    executor::{Network, Precision, Runner},
    forward::{floats, torch, torch_message},
    graph::{Graph, Node, ValueId},
    program::{Fusion, Program},
};
use crate::{CamMethod, LayerChoice};

const LAYERS: Origin = Origin::Setting {
    section: "explain",
    key: "layers",
};

/// The head of a network after one layer.
pub struct Explainer {
    head: Runner,
    methods: Vec<CamMethod>,
    inputs: Vec<Layer>,
    /// Sizes of each input without the batch dimension.
    sizes: Vec<Vec<i64>>,
    device: Device,
    /// Weights `[classes, channels]` and bias `[classes]` of the final linear layer, for CAM.
    linear: Option<(Tensor, Option<Tensor>)>,
}

/// Maps of one image for one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The class's logit, recomputed from the feature maps.
    pub logit: f32,
    /// One map `[rows, columns]` per method, in order, neither rectified nor scaled.
    pub maps: Vec<Vec<f32>>,
    /// `mean(CAM) + bias` if CAM is among the methods: equals the logit up to rounding.
    pub cam_logit: Option<f32>,
}

impl ModelInfo {
    /// The layers to explain: the named ones, or (`auto`) the last spatial layer before the head, if any.
    ///
    /// # Errors
    /// As [`ModelInfo::named_layers`].
    pub fn explanation_layers(&self, choice: &LayerChoice) -> Result<Vec<Layer>> {
        match choice {
            LayerChoice::Auto => {
                let index = self.analysis.explanation;
                Ok(index
                    .map(|index| Layer::from(&self.analysis.taps[index]))
                    .into_iter()
                    .collect())
            }
            LayerChoice::Named(names) => self.named_layers(names, LAYERS),
        }
    }

    /// The inputs of the head after `layer`: the layer itself, and further values if it is inside a branch.
    ///
    /// # Errors
    /// A layer that the logits do not depend on.
    pub fn head_inputs(&self, layer: &Layer) -> Result<Vec<Layer>> {
        let head = self.head(layer)?;
        let others = head.inputs.iter().skip(1);
        Ok([layer.clone()]
            .into_iter()
            .chain(others.map(|&value| self.layer_of(value)))
            .collect())
    }

    /// Loads the weights of the heads after `layers` only, in float32.
    ///
    /// # Errors
    /// As `Network::load`.
    pub fn load_heads<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Layer>,
        device: Device,
    ) -> Result<Network> {
        let mut needed = HashSet::new();
        for layer in layers {
            needed.extend(self.head(layer)?.nodes.iter().flat_map(Node::reads));
        }
        self.network(device, Precision::Float32, Some(&needed))
    }

    /// The head after a layer, without weights.
    fn head(&self, layer: &Layer) -> Result<Program> {
        let (wanted, weights) = ([self.graph.logits], HashMap::new());
        let head = Program::after(&self.graph, &weights, layer.value, &wanted, Fusion::None);
        head.ok_or_else(|| {
            let message = format!("the logits do not depend on {}", layer.name);
            LAYERS.complaint(message).into()
        })
    }

    /// The methods that work at `layer`, and one reason for each that does not.
    pub fn methods_at(
        &self,
        layer: &Layer,
        methods: &[CamMethod],
    ) -> (Vec<CamMethod>, Vec<String>) {
        let (mut supported, mut refused) = (Vec::new(), Vec::new());
        for &method in methods {
            match method {
                CamMethod::Cam => match self.analysis.cam_exact(&self.graph, layer.value) {
                    Ok(_) => supported.push(method),
                    Err(why) => refused.push(format!(
                        "cam is not exact at {}: {why}; use gradcam there",
                        layer.name
                    )),
                },
                _ => supported.push(method),
            }
        }
        (supported, refused)
    }

    /// The index of a class given by name, or as `#` and its index.
    ///
    /// # Errors
    /// No class, or several, with that name.
    pub fn class_index(&self, class: &str) -> Result<usize, String> {
        let classes = self.classes();
        if let Some(index) = class.strip_prefix('#').and_then(|text| text.parse().ok()) {
            if index < classes.len() {
                return Ok(index);
            }
            return Err(format!(
                "the network's classes are #0 to #{}, not {class}",
                classes.len().saturating_sub(1)
            ));
        }
        let matches: Vec<usize> = (0..classes.len())
            .filter(|&index| classes[index] == class)
            .collect();
        match matches.as_slice() {
            [index] => Ok(*index),
            [] => {
                let names: Vec<&str> = classes.iter().map(String::as_str).collect();
                Err(format!(
                    "the network has no class {class:?}{}; give a class name, or an index from #0 to #{}",
                    did_you_mean(class, &names),
                    classes.len().saturating_sub(1)
                ))
            }
            several => Err(format!(
                "{} classes are named {class:?}; give one by index: {}",
                several.len(),
                several
                    .iter()
                    .map(|index| format!("#{index}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
    }

    /// Class indices by name, without ambiguous names.
    pub fn class_by_name(&self) -> HashMap<String, usize> {
        let mut all: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, name) in self.classes().into_iter().enumerate() {
            all.entry(name).or_default().push(index);
        }
        all.into_iter()
            .filter_map(|(name, classes)| (classes.len() == 1).then(|| (name, classes[0])))
            .collect()
    }

    fn layer_of(&self, value: ValueId) -> Layer {
        let tap = self.analysis.taps.iter().rev();
        let tap = tap.into_iter().find(|tap| tap.value == value);
        tap.map_or_else(
            || Layer {
                name: self.graph.values[value].name.clone(),
                class: String::new(),
                value,
            },
            Layer::from,
        )
    }
}

impl Explainer {
    /// Compiles the head after `layer` in float32.
    ///
    /// # Errors
    /// The logits do not depend on the layer; a method is not exact there; a head input has no fixed size.
    pub fn new(
        network: &Network,
        model: &ModelInfo,
        layer: &Layer,
        methods: &[CamMethod],
    ) -> Result<Explainer> {
        let refuse = |why: &str| Error::from(LAYERS.complaint(format!("{}: {why}", layer.name)));
        let inputs = model.head_inputs(layer)?;
        let head = network
            .after(layer.value)?
            .ok_or_else(|| refuse("the logits do not depend on this layer"))?;
        let (_, refused) = model.methods_at(layer, methods);
        if let Some(why) = refused.first() {
            return Err(refuse(why));
        }
        let sizes = head
            .inputs()
            .iter()
            .map(|&value| sizes(&model.graph, value))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| refuse("the head needs values without a fixed size"))?;
        if sizes[0].len() != 3 {
            return Err(refuse("not a map [n, channels, rows, columns]"));
        }
        let linear = methods
            .contains(&CamMethod::Cam)
            .then(|| linear(network, model, layer))
            .transpose()?;
        Ok(Explainer {
            head,
            methods: methods.to_vec(),
            inputs,
            sizes,
            device: network.device(),
            linear,
        })
    }

    /// The same, for another thread; the weights are shared.
    pub fn share(&self) -> Explainer {
        let linear = self.linear.as_ref();
        Explainer {
            head: self.head.share(),
            methods: self.methods.clone(),
            inputs: self.inputs.clone(),
            sizes: self.sizes.clone(),
            device: self.device,
            linear: linear.map(|(weight, bias)| {
                let bias = bias.as_ref().map(Tensor::shallow_clone);
                (weight.shallow_clone(), bias)
            }),
        }
    }

    /// The inputs of [`Explainer::run`]: the layer, and further values if it is inside a branch.
    pub fn inputs(&self) -> &[Layer] {
        &self.inputs
    }

    /// Channels, rows and columns of the layer's maps.
    pub fn shape(&self) -> [usize; 3] {
        [0, 1, 2].map(|index| self.sizes[0][index] as usize)
    }

    /// Explains images for classes. `maps` holds one row-major slice of `n` images per [`Explainer::inputs`]; `jobs` are pairs
    /// of image index in the batch and class. Returns one explanation per job, in order.
    ///
    /// # Errors
    /// A slice of the wrong length; an image or class out of range; libtorch's message.
    pub fn run(
        &self,
        maps: &[&[f32]],
        n: usize,
        jobs: &[(usize, usize)],
    ) -> Result<Vec<Explanation>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let context = format!("the head after {}", self.inputs[0].name);
        let failed = |error: tch::TchError| torch(&context, &error);
        if maps.len() != self.inputs.len() {
            let message = format!("maps of {} layers, not {}", maps.len(), self.inputs.len());
            return Err(torch_message(&context, &message));
        }
        let images: Vec<i64> = jobs.iter().map(|&(image, _)| image as i64).collect();
        let every_image_once = images.iter().copied().eq(0..n as i64);
        let images = Tensor::from_slice(&images).to_device(self.device);
        let mut inputs = Vec::with_capacity(maps.len());
        for (map, sizes) in maps.iter().zip(&self.sizes) {
            let sizes: Vec<i64> = [n as i64].iter().chain(sizes).copied().collect();
            if sizes.iter().product::<i64>() != map.len() as i64 {
                let message = format!("{} values, not {sizes:?}", map.len());
                return Err(torch_message(&context, &message));
            }
            let value = Tensor::from_slice(map)
                .reshape(&sizes)
                .to_device(self.device);
            inputs.push(match every_image_once {
                true => value,
                false => value.f_index_select(0, &images).map_err(failed)?,
            });
        }
        let features = inputs[0].set_requires_grad(true);
        let inputs: Vec<&Tensor> = [&features].into_iter().chain(&inputs[1..]).collect();
        let outputs = self.head.run_from(&inputs)?;
        let [logits] = outputs.as_slice() else {
            return Err(torch_message(&context, "expected one tensor of logits"));
        };
        let classes: Vec<i64> = jobs.iter().map(|&(_, class)| class as i64).collect();
        let classes = Tensor::from_slice(&classes).to_device(self.device);
        let scores = logits
            .f_gather(1, &classes.reshape([-1, 1]), false)
            .map_err(failed)?;
        // CAM alone needs no backward pass.
        let gradient = match self.methods.iter().any(|&method| method != CamMethod::Cam) {
            false => None,
            true => Tensor::f_run_backward(&[scores.sum(Dtype::Float)], &[&features], false, false)
                .map_err(failed)?
                .pop(),
        };
        let _guard = tch::no_grad_guard();
        let features = features.detach();
        let mut maps = Vec::with_capacity(self.methods.len());
        let mut cam_logits = None;
        for method in &self.methods {
            let map = match (method, &gradient, &self.linear) {
                (CamMethod::Cam, _, Some((weight, bias))) => {
                    let map = weighted(&features, &weight.index_select(0, &classes));
                    let mut logits = map.mean_dim([1i64].as_slice(), false, Dtype::Float);
                    if let Some(bias) = bias {
                        logits += bias.index_select(0, &classes);
                    }
                    cam_logits = Some(floats(&logits)?);
                    map
                }
                (_, Some(gradient), _) => combine(*method, &features, gradient),
                _ => return Err(torch_message(&context, "no gradient at the layer")),
            };
            maps.push(floats(&map)?);
        }
        let cells = (self.sizes[0][1] * self.sizes[0][2]) as usize;
        let logits = floats(&scores)?;
        Ok((0..jobs.len())
            .map(|job| Explanation {
                logit: logits[job],
                maps: maps
                    .iter()
                    .map(|map| map[job * cells..][..cells].to_vec())
                    .collect(),
                cam_logit: cam_logits.as_ref().map(|logits| logits[job]),
            })
            .collect())
    }
}

/// `Σ_k weights[n, k] features[n, k, y, x]` as `[n, rows * columns]`.
///
/// Summed in float64: vectorised sums use another order for the last cells of a row, but equal cells must have equal sums.
fn weighted(features: &Tensor, weights: &Tensor) -> Tensor {
    weights
        .to_kind(Dtype::Double)
        .unsqueeze(1)
        .bmm(&features.flatten(2, -1).to_kind(Dtype::Double))
        .squeeze_dim(1)
        .to_kind(Dtype::Float)
}

/// `[n, rows * columns]` from features and gradient `[n, channels, rows, columns]`.
fn combine(method: CamMethod, features: &Tensor, gradient: &Tensor) -> Tensor {
    let cells: &[i64] = &[2, 3];
    match method {
        CamMethod::GradCam | CamMethod::Cam => {
            weighted(features, &gradient.mean_dim(cells, false, Dtype::Float))
        }
        CamMethod::GradCamPlusPlus => {
            // Simplified for S = exp(score), as in Chattopadhay et al. and pytorch-grad-cam. The epsilon is from the latter; it
            // dominates the denominator where gradients are below 1e-3.
            let square = gradient * gradient;
            let sums = features.sum_dim_intlist(cells, true, Dtype::Float);
            let alpha = &square / (&square * 2.0 + sums * &square * gradient + 1e-6);
            let alpha = alpha.where_self(&gradient.ne(0.0), &gradient.zeros_like());
            let weights = (alpha * gradient.relu()).sum_dim_intlist(cells, false, Dtype::Float);
            weighted(features, &weights)
        }
        CamMethod::LayerCam => cellwise(features, &gradient.relu()),
        CamMethod::HiResCam => cellwise(features, gradient),
    }
}

fn cellwise(features: &Tensor, weights: &Tensor) -> Tensor {
    (features * weights)
        .sum_dim_intlist([1i64].as_slice(), false, Dtype::Float)
        .flatten(1, -1)
}

/// Sizes of a value without the batch dimension, if all are fixed.
fn sizes(graph: &Graph, value: ValueId) -> Option<Vec<i64>> {
    graph.shape(value)?.iter().skip(1).copied().collect()
}

fn linear(network: &Network, model: &ModelInfo, layer: &Layer) -> Result<(Tensor, Option<Tensor>)> {
    let fail = |why: &str| torch_message("the linear layer after the pooling", why);
    let node = (model.analysis)
        .cam_exact(&model.graph, layer.value)
        .map_err(|why| fail(&why))?;
    let weight = node
        .tensor("weight")
        .and_then(|id| network.parameter(id))
        .ok_or_else(|| fail("its weights are computed, not stored"))?;
    let bias = match node.tensor("bias") {
        None => None,
        Some(id) => Some(
            network
                .parameter(id)
                .ok_or_else(|| fail("its bias is computed, not stored"))?
                .shallow_clone(),
        ),
    };
    Ok((weight.shallow_clone(), bias))
}
