//! Gradients of a layer's cells with respect to the pixels: batched backward passes per rule, receptive fields and pictures.

use std::collections::BTreeSet;

use prospect_analysis::units::effective_field::{EffectiveField, effective_field};
use prospect_common::{Error, Result};
use prospect_dataset::image::{self, FileBox, Geometry, InputSpec, RgbImage};
use prospect_engine::{
    Context,
    tables::{layers::Layer, sources::Sources, units::Patch},
};
use prospect_model::{
    LayerChoice, ModelInfo, ReluRule,
    backprop::Backprop,
    executor::Network,
    graph::{Graph, ValueId},
    operators,
};
use prospect_output::picture::{self, Picture, PixelBox};
use prospect_store::Manifest;
use rayon::prelude::*;

/// Width and height of a tile in pixels.
pub const TILE: u32 = 144;
/// Pixels of a tile.
pub const TILE_PIXELS: u64 = TILE as u64 * TILE as u64;
/// Images per backward pass, which keeps all activations: about 100 MB per image for a ResNet-50.
const MAX_BATCH: usize = 16;

/// Gradients of one patch.
#[derive(Debug)]
pub struct Trace {
    /// Box of the receptive field that `rf` names, in stored file pixels; `None` if it is effective and the gradient is zero.
    pub field: Option<FileBox>,
    /// Effective receptive field in stored file pixels, and its fraction of the gradient's energy; `None` if the gradient is
    /// zero.
    pub effective: Option<(FileBox, f32)>,
    /// Maximum magnitude of the plain gradient.
    pub gradient_max: f32,
    /// The crop, then the gradient under each rule.
    pub tiles: Vec<Picture>,
}

/// Backward passes from one layer.
pub struct Tracer<'a> {
    ctx: &'a Context<'a>,
    manifest: &'a Manifest,
    view: View<'a>,
    plain: Backprop,
    /// Passes for the pictures; `None` means `plain`.
    rules: Vec<Option<Backprop>>,
}

/// Layer and input description shared by threads.
struct View<'a> {
    spec: &'a InputSpec,
    layer: &'a Layer,
    /// Height and width of the network's input.
    input_size: (u32, u32),
}

impl<'a> Tracer<'a> {
    /// `network` is that of `model`.
    ///
    /// # Errors
    /// The model has no such layer.
    pub fn new(
        ctx: &'a Context<'a>,
        manifest: &'a Manifest,
        spec: &'a InputSpec,
        model: &ModelInfo,
        network: &Network,
        layer: &'a Layer,
    ) -> Result<Tracer<'a>> {
        let named = LayerChoice::Named(vec![layer.name.clone()]);
        let found = model.layers(&named)?;
        let target = found
            .first()
            .map(|found| before_limit(&model.graph, found.value))
            .ok_or_else(|| Error::Missing {
                what: format!("layer {} of the network", layer.name),
                next: "run `prospect run extract`".into(),
            })?;
        let compile = |rule| Backprop::new(network, target, rule, spec.mean, spec.std);
        let rules = ctx.config.backprop.rules.iter();
        Ok(Tracer {
            ctx,
            manifest,
            view: View {
                spec,
                layer,
                input_size: model_input(model),
            },
            plain: compile(ReluRule::Plain)?,
            rules: rules
                .map(|&rule| match rule {
                    ReluRule::Plain => Ok(None),
                    rule => compile(rule).map(Some),
                })
                .collect::<Result<_>>()?,
        })
    }

    /// Kind of this layer's boxes: "theoretical", or "effective" if each cell sees the whole input.
    pub fn rf(&self) -> &'static str {
        if self.view.layer.sees_all(self.view.input_size) {
            "effective"
        } else {
            "theoretical"
        }
    }

    /// Smooth activations on the path, for which the rules use the derivative.
    pub fn smooth(&self) -> BTreeSet<String> {
        let rules = self.rules.iter().flatten();
        rules.flat_map(|rule| rule.smooth().to_vec()).collect()
    }

    /// Traces in the order of the patches; `None` if the image is unreadable.
    pub fn trace(&self, patches: &[Patch]) -> Result<Vec<Option<Trace>>> {
        let wanted: BTreeSet<u32> = patches.iter().map(|patch| patch.image_id).collect();
        let sources = Sources::read(self.ctx, self.manifest, |id| wanted.contains(&id))?;
        let mut order: Vec<usize> = (0..patches.len()).collect();
        order.sort_by_key(|&at| patches[at].image_id);
        let mut traces: Vec<Option<Trace>> = patches.iter().map(|_| None).collect();
        let mut unreadable = BTreeSet::new();
        let batch_size = self.ctx.config.model.batch_size.clamp(1, MAX_BATCH);
        for batch in order.chunks(batch_size) {
            self.ctx.cancel.check()?;
            let jobs: Vec<&Patch> = batch.iter().map(|&at| &patches[at]).collect();
            let found = self.trace_batch(&jobs, &sources)?;
            for (&at, found) in batch.iter().zip(found) {
                match found {
                    Ok(trace) => traces[at] = Some(trace),
                    Err(reason) if unreadable.insert(patches[at].image_id) => {
                        sources.warn("gradients", patches[at].image_id, &reason);
                    }
                    Err(_) => {}
                }
            }
        }
        Ok(traces)
    }

    /// Traces a batch. `jobs` are sorted by image.
    fn trace_batch(
        &self,
        jobs: &[&Patch],
        sources: &Sources,
    ) -> Result<Vec<Result<Trace, String>>> {
        let view = &self.view;
        let groups: Vec<&[&Patch]> = jobs.chunk_by(|a, b| a.image_id == b.image_id).collect();
        let inputs: Vec<Result<Vec<u8>, String>> = groups
            .par_iter()
            .map(|group| view.input(&sources.decode(group[0].image_id)?))
            .collect();
        let (mut pixels, mut elements) = (Vec::new(), Vec::new());
        // Each image's patches, and the index of the first one's gradient.
        let mut placed = Vec::new();
        for (group, input) in groups.into_iter().zip(inputs) {
            placed.push((
                group,
                input
                    .as_ref()
                    .map(|_| elements.len())
                    .map_err(String::clone),
            ));
            if let Ok(input) = input {
                for patch in group {
                    pixels.extend_from_slice(&input);
                    elements.push(view.element(patch));
                }
            }
        }
        let run = |backprop: &Backprop| match elements.len() {
            0 => Ok(Vec::new()),
            _ => backprop.run(&pixels, &elements),
        };
        let plain = run(&self.plain)?;
        let ruled: Vec<Option<Vec<f32>>> = (self.rules.iter())
            .map(|rule| rule.as_ref().map(run).transpose())
            .collect::<Result<_>>()?;
        let size = plain.len() / elements.len().max(1);
        let traced: Vec<Vec<Result<Trace, String>>> = placed
            .into_par_iter()
            .map(|(group, first)| {
                // Decoded again: keeping a batch of decoded photos would take too much memory.
                let image = first.and_then(|first| Ok((first, sources.decode(group[0].image_id)?)));
                let trace = |(at, patch): (usize, &&Patch)| {
                    let (first, image) = image.as_ref().map_err(String::clone)?;
                    let of_patch = (first + at) * size..(first + at + 1) * size;
                    let plain = &plain[of_patch.clone()];
                    let shown: Vec<&[f32]> = (ruled.iter())
                        .map(|rule| rule.as_ref().map_or(plain, |all| &all[of_patch.clone()]))
                        .collect();
                    view.look(patch, image, plain, &shown)
                };
                group.iter().enumerate().map(trace).collect()
            })
            .collect();
        Ok(traced.into_iter().flatten().collect())
    }
}

impl View<'_> {
    /// The network's input of an image.
    fn input(&self, image: &RgbImage) -> Result<Vec<u8>, String> {
        let (pixels, geometry) =
            image::preprocess(image, self.spec).map_err(|error| error.to_string())?;
        let (height, width) = geometry.input_size();
        if (height, width) == self.input_size {
            return Ok(pixels);
        }
        Err(format!(
            "its input size {height}x{width} does not match the network"
        ))
    }

    /// Flat index of the patch's cell in the layer's map.
    fn element(&self, patch: &Patch) -> usize {
        let (row, col) = (patch.cell.0 as usize, patch.cell.1 as usize);
        let (rows, cols) = (self.layer.height as usize, self.layer.width as usize);
        (patch.unit * rows + row) * cols + col
    }

    fn look(
        &self,
        patch: &Patch,
        image: &RgbImage,
        plain: &[f32],
        shown: &[&[f32]],
    ) -> Result<Trace, String> {
        let geometry = Geometry::new(&image.header, self.spec);
        let (height, width) = self.input_size;
        let size = (height as usize, width as usize);
        let finite = plain.iter().copied().filter(|value| value.is_finite());
        let gradient_max = finite.fold(0.0_f32, |max, value| max.max(value.abs()));
        let effective = effective_field(plain, size.0, size.1);
        let field = if self.layer.sees_all(self.input_size) {
            effective.map(edges)
        } else {
            Some(self.layer.input_box(patch.cell, (height, width)))
        };

        let whole = [0.0, 0.0, f64::from(width), f64::from(height)];
        let part = field.unwrap_or(whole);
        let seen = geometry.seen_box(part).map(|edge| edge as f32);
        let on_image = geometry.upright_box(part);
        let on_image = [on_image.x0, on_image.y0, on_image.x1, on_image.y1];
        let on_image = PixelBox::nearest(on_image, image.width, image.height)
            .ok_or("the image has no pixels")?;
        let crop = picture::tile(&image.pixels, image.width, image.height, on_image, TILE)
            .map_err(|error| error.to_string())?;
        let part = PixelBox::nearest(seen, width, height).ok_or("the input has no pixels")?;
        let tile_size = (crop.width, crop.height);
        let mut tiles = vec![crop];
        for gradient in shown {
            let tile = picture::gradient_picture(gradient, size, part, tile_size);
            tiles.push(tile.map_err(|error| error.to_string())?);
        }
        Ok(Trace {
            field: field.map(|part| geometry.file_box(part)),
            effective: effective.map(|part| (geometry.file_box(edges(part)), part.energy as f32)),
            gradient_max,
            tiles,
        })
    }
}

/// Height and width of the network's input.
fn model_input(model: &ModelInfo) -> (u32, u32) {
    let (height, width) = model.graph.input_size();
    (height as u32, width as u32)
}

fn edges(field: EffectiveField) -> [f64; 4] {
    [field.x0, field.y0, field.x1, field.y1].map(|edge| edge as f64)
}

/// The input of the clamp (ReLU6, Hardtanh) that computes `value`, or `value` itself. The gradient per cell is the same, except
/// that behind the clamp it vanishes at the upper bound, where the strongest cells are.
fn before_limit(graph: &Graph, value: ValueId) -> ValueId {
    let producers = graph.producers();
    let limited = |value: ValueId| {
        let node = &graph.nodes[producers[value]?];
        let (_, max) = operators::clamp_range(node)?;
        let input = node.reads().first().copied()?;
        max.is_finite().then_some(input)
    };
    std::iter::successors(Some(value), |&value| limited(value))
        .last()
        .unwrap_or(value)
}
