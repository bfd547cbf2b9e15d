//! Source of the probabilities: linear probes on the features, or the network itself.

use prospect_analysis::space::linalg::{
    logistic::{Model, Predictor},
    softmax,
};
use prospect_common::{Complaint, Result};
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context,
    schema::predictions,
    tables::{
        classes::{ClassNames, name_of},
        features::FeatureReader,
    },
};
use prospect_model::device;
use prospect_store::Manifest;

use super::inputs::{Class, Inputs};

/// Classes named in an error.
const NAMED: usize = 5;

/// Probabilities of some images.
#[derive(Default)]
pub struct Chunk {
    pub image_ids: Vec<u32>,
    /// `[image_ids.len(), classes]`
    pub probabilities: Vec<f32>,
}

pub enum Classifier {
    /// One model per fold.
    Probe(Vec<Model>),
    /// Indices of the classes in the network's logits.
    Network(Vec<usize>),
}

impl Classifier {
    /// The network, restricted to these classes.
    ///
    /// # Errors
    /// It does not know one of them by name.
    pub fn network(ctx: &Context, manifest: &Manifest, classes: &[Class]) -> Result<Classifier> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let known = names.network_of_dataset();
        let place = |class: &Class| Some(*known.get(&class.number)? as usize);
        if let Some(places) = classes.iter().map(place).collect() {
            return Ok(Classifier::Network(places));
        }
        let unknown = classes.iter().filter(|class| place(class).is_none());
        let unknown: Vec<String> = unknown.map(|c| name_of(&names.dataset, c.number)).collect();
        let more = if unknown.len() > NAMED { ", …" } else { "" };
        let predicate = format!(
            "= \"network\": the network does not know {} of the {} classes by name ({}{more}); use source = \"probe\", \
             which learns the dataset's own classes from the network's features",
            unknown.len(),
            classes.len(),
            unknown[..unknown.len().min(NAMED)].join(", "),
        );
        Err(Complaint::predicate("audit", "source", predicate).into())
    }

    pub fn source(&self) -> ProbabilitySource {
        match self {
            Classifier::Probe(_) => ProbabilitySource::Probe,
            Classifier::Network(_) => ProbabilitySource::Network,
        }
    }

    /// Calls `visit` with the number and the probabilities of each wanted chunk, in order of the image ids; a chunk has
    /// `[extract] part_size` images.
    pub fn each(
        &self,
        ctx: &Context,
        manifest: &Manifest,
        inputs: &Inputs,
        wanted: &dyn Fn(usize) -> bool,
        visit: &mut dyn FnMut(usize, Chunk) -> Result<()>,
    ) -> Result<()> {
        match self {
            Classifier::Probe(models) => by_probe(ctx, manifest, inputs, models, wanted, visit),
            Classifier::Network(places) => by_network(ctx, manifest, places, wanted, visit),
        }
    }
}

fn by_probe(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    models: &[Model],
    wanted: &dyn Fn(usize) -> bool,
    visit: &mut dyn FnMut(usize, Chunk) -> Result<()>,
) -> Result<()> {
    let mut predictor = None;
    let mut first = 0;
    let chunks = FeatureReader::new(ctx.run, manifest, ctx.config.extract.part_size);
    for (number, features) in chunks.enumerate() {
        ctx.cancel.check()?;
        let features = features?;
        let rows = first..first + features.image_ids.len();
        first = rows.end;
        if !wanted(number) {
            continue;
        }
        let predictor = match &mut predictor {
            Some(predictor) => predictor,
            none => {
                let device = device::choose(ctx.config.model.device)?;
                none.insert(Predictor::new(models, features.dimension, device)?)
            }
        };
        let probabilities = predictor.probabilities(&features.values, &inputs.folds[rows])?;
        let image_ids = features.image_ids;
        visit(
            number,
            Chunk {
                image_ids,
                probabilities,
            },
        )?;
    }
    Ok(())
}

/// Softmax over the logits of the dataset's classes only; images with non-finite logits are left out.
fn by_network(
    ctx: &Context,
    manifest: &Manifest,
    places: &[usize],
    wanted: &dyn Fn(usize) -> bool,
    visit: &mut dyn FnMut(usize, Chunk) -> Result<()>,
) -> Result<()> {
    let (size, mut number, mut rows) = (ctx.config.extract.part_size, 0, 0);
    let mut chunk = Chunk::default();
    let columns = (predictions::image_id, predictions::logits);
    for batch in ctx.run.rows(manifest, columns).batch_rows(size) {
        let batch = batch?;
        ctx.cancel.check()?;
        let width = batch.columns().1.length;
        if places.iter().any(|place| *place >= width) {
            return Err(batch.unexpected("a logit for each class", format!("{width} logits")));
        }
        for (id, logits) in batch.iter() {
            if rows == size {
                if wanted(number) {
                    visit(number, std::mem::take(&mut chunk))?;
                }
                chunk = Chunk::default();
                (number, rows) = (number + 1, 0);
            }
            rows += 1;
            let of_classes: Vec<f64> = places.iter().map(|place| logits[*place].into()).collect();
            if of_classes.iter().all(|logit| logit.is_finite()) {
                chunk.image_ids.push(id);
                let shares = softmax(&of_classes);
                chunk
                    .probabilities
                    .extend(shares.into_iter().map(|share| share as f32));
            }
        }
    }
    if rows > 0 && wanted(number) {
        visit(number, chunk)?;
    }
    Ok(())
}
