//! Reuse of another run's maps: known images keep their places, new images are placed next to their neighbours.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use prospect_analysis::space::{
    neighbors::{
        NO_ID, Neighbor,
        exact::{Block, Search},
    },
    projection::{pca::Pca, place::place},
};
use prospect_common::{Error, Result};
use prospect_config::ProjectionMethod;
use prospect_engine::{
    Context,
    schema::{features, images, projection},
    tables::features::{FeatureReader, Features},
};
use prospect_store::{Manifest, RunFolder, StageRecord};
use serde_json::{Value, json};

use super::{
    inputs::{Inputs, Phase},
    tables::{self, Map, Place},
};

/// Name of this stage.
const PROJECT: &str = "project";
/// Neighbours that place a new image.
const NEIGHBORS: usize = 15;
/// Rows of the other run's features in memory at a time.
const BLOCK_ROWS: usize = 32_768;

/// The run whose maps are reused.
pub struct Base {
    run: RunFolder,
    manifest: Manifest,
}

/// This run's images matched to the base's.
pub struct Matches<'a> {
    base: &'a Base,
    inputs: &'a Inputs<'a>,
    /// For each row of this run's features, the base's image with the same content.
    same: Vec<Option<u32>>,
    /// Rows without a match.
    new: Vec<usize>,
    /// For each new row, the nearest images of the base, nearest first, as rows of `base_ids`.
    nearest: Vec<Vec<Neighbor>>,
    base_ids: Vec<u32>,
}

impl Base {
    /// The run that `[project] onto` names, if set.
    ///
    /// # Errors
    /// It has another feature space, or lacks a finished map.
    pub fn open(ctx: &Context) -> Result<Option<Base>> {
        let Some(folder) = &ctx.config.project.onto else {
            return Ok(None);
        };
        let named = folder.display();
        let complaint = |message: String| Error::setting("project", "onto", message);
        let run = RunFolder::open(folder)?;
        if run.root() == ctx.run.root() {
            return Err(complaint(format!(
                "{named} is this run itself; set an earlier run, or remove `onto`"
            )));
        }
        let manifest = run.manifest()?;
        let complete = |name: &str| manifest.stages.get(name).filter(|stage| stage.complete);
        let (Some(extract), Some(project)) = (complete("extract"), complete(PROJECT)) else {
            return Err(complaint(format!(
                "{named} has no finished maps; finish them with `prospect run project` there"
            )));
        };
        let model = ctx.model()?;
        let feature = model.feature(&ctx.config.extract.feature_layer)?;
        let theirs = |name: &str| extract.parameters.get(name).unwrap_or(&Value::Null);
        let word = |value: &Value| value.as_str().unwrap_or("none").to_string();
        let mut differ = Vec::new();
        if theirs("model") != &json!(model.digest) {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            let (ours, theirs) = (short(&model.digest), short(&word(theirs("model"))));
            differ.push(format!("the network (here {ours}, there {theirs})"));
        }
        if theirs("feature_layer") != &json!(feature.name) {
            let (ours, theirs) = (&feature.name, word(theirs("feature_layer")));
            differ.push(format!("the feature layer (here {ours}, there {theirs})"));
        }
        if theirs("input") != &json!(model.input_spec(&ctx.config.input)?) {
            differ.push("the preprocessing of images".to_string());
        }
        if !differ.is_empty() {
            return Err(complaint(format!(
                "{named} differs in {}, so its maps are in another feature space; remove `onto` to fit new ones",
                differ.join(" and ")
            )));
        }
        let has: Vec<&str> = (project.parameters["methods"]
            .as_array()
            .into_iter()
            .flatten())
        .filter_map(Value::as_str)
        .collect();
        let lacks: Vec<&str> = (ctx.config.project.methods.iter())
            .map(|method| method.name())
            .filter(|method| !has.contains(method))
            .collect();
        if !lacks.is_empty() {
            return Err(complaint(format!(
                "{named} has no map by {}; it has {}: set [project] methods to these",
                lacks.join(", "),
                has.join(", ")
            )));
        }
        Ok(Some(Base { run, manifest }))
    }

    /// Key that changes with the base's maps.
    pub fn key(&self) -> Cow<'_, str> {
        self.manifest
            .stages
            .get(PROJECT)
            .map_or("".into(), StageRecord::dependency_key)
    }

    pub fn pca(&self) -> Result<Pca> {
        tables::read_components(&self.run, &self.manifest)
    }

    /// Matches this run's images to the base's by file content; identical files are matched in order.
    pub fn matches<'a>(
        &'a self,
        inputs: &'a Inputs<'a>,
        manifest: &Manifest,
    ) -> Result<Matches<'a>> {
        let mapped = tables::read_ids(&self.run, &self.manifest)?;
        let mut theirs: HashMap<String, Vec<u32>> = HashMap::new();
        for (id, digest) in read_digests(&self.run, &self.manifest)? {
            if mapped.contains(&id) {
                theirs.entry(digest).or_default().push(id);
            }
        }
        let ours: HashMap<u32, String> = read_digests(inputs.ctx.run, manifest)?
            .into_iter()
            .collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let same: Vec<Option<u32>> = (inputs.features.image_ids.iter())
            .map(|id| {
                let digest = ours.get(id)?;
                let copies = theirs.get(digest)?;
                let nth = seen.entry(digest).or_default();
                *nth += 1;
                copies.get(*nth - 1).or(copies.first()).copied()
            })
            .collect();
        let new = (0..same.len()).filter(|row| same[*row].is_none()).collect();
        let mut matches = Matches {
            base: self,
            inputs,
            same,
            new,
            nearest: Vec::new(),
            base_ids: Vec::new(),
        };
        matches.search(&mapped)?;
        Ok(matches)
    }
}

impl Matches<'_> {
    /// Searches the base's features, block by block, for the neighbours of the new images.
    fn search(&mut self, mapped: &HashSet<u32>) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let Inputs {
            ctx,
            features,
            device,
            ..
        } = self.inputs;
        let dimension = features.dimension;
        let metric = ctx.config.neighbors.metric;
        let block =
            |ids: Vec<u32>, values: &[f32]| Block::new(ids, values, dimension, metric, *device);
        let values: Vec<f32> = (self.new.iter())
            .flat_map(|row| &features.values[row * dimension..(row + 1) * dimension])
            .copied()
            .collect();
        let search = Search::new(block(vec![NO_ID; self.new.len()], &values)?, NEIGHBORS);
        let phase = Phase::new(ctx, "neighbours of new images", "images");
        let reader = FeatureReader::new(&self.base.run, &self.base.manifest, BLOCK_ROWS);
        let total = reader.rows() as u64;
        for theirs in reader {
            let theirs = theirs?;
            if theirs.dimension != dimension {
                return Err(Error::invalid(
                    self.base.run.path(&format!("tables/{}", features::NAME)),
                    format!("vectors of {dimension} numbers"),
                    format!("vectors of {}", theirs.dimension),
                    "run `prospect verify` on that run",
                ));
            }
            let theirs = only(theirs, mapped);
            let first = self.base_ids.len() as u32;
            let ids = (first..).take(theirs.image_ids.len()).collect();
            search.add(&block(ids, &theirs.values)?)?;
            self.base_ids.extend(theirs.image_ids);
            phase.at(self.base_ids.len() as u64, total)?;
        }
        self.nearest = search.finish();
        Ok(())
    }

    /// The base's map by one method, restricted to this run's images, with new ones placed. `pca`: the base's.
    pub fn map(&self, method: ProjectionMethod, pca: &Pca) -> Result<Map> {
        let places = tables::read_places(&self.base.run, &self.base.manifest, method)?;
        let place_of = |id: u32| -> Result<Place> {
            (places.get(&id).copied()).ok_or_else(|| {
                Error::invalid(
                    self.base.run.path(&format!("tables/{}", projection::NAME)),
                    format!("a {} row of image {id}", method.name()),
                    "none",
                    "run `prospect verify` on that run",
                )
            })
        };
        let mut all: Vec<Place> = Vec::with_capacity(self.same.len());
        for same in &self.same {
            all.push(same.map_or(Ok(([0.0; 3], true)), place_of)?);
        }
        if method == ProjectionMethod::Pca {
            let Features {
                dimension, values, ..
            } = &self.inputs.features;
            for &row in &self.new {
                let scores = pca.transform(&values[row * dimension..(row + 1) * dimension]);
                for (place, score) in all[row].0.iter_mut().zip(scores) {
                    *place = score;
                }
            }
        } else {
            let mut xy = Vec::with_capacity(2 * self.base_ids.len());
            for &id in &self.base_ids {
                let ([x, y, _], _) = place_of(id)?;
                xy.extend([x, y]);
            }
            for (&row, nearest) in self.new.iter().zip(&self.nearest) {
                let [x, y] = place(nearest, &xy);
                all[row].0 = [x, y, 0.0];
            }
        }
        let has_z = method == ProjectionMethod::Pca && pca.len() > 2;
        Ok(Map {
            xy: all.iter().flat_map(|([x, y, _], _)| [*x, *y]).collect(),
            z: has_z.then(|| all.iter().map(|([_, _, z], _)| *z).collect()),
            placed: all.iter().map(|(_, placed)| *placed).collect(),
        })
    }
}

/// The features of the wanted images.
fn only(features: Features, wanted: &HashSet<u32>) -> Features {
    let Features {
        image_ids,
        dimension,
        values,
    } = features;
    let rows = image_ids.iter().zip(values.chunks_exact(dimension.max(1)));
    let rows: Vec<(u32, &[f32])> = (rows.filter(|(id, _)| wanted.contains(id)))
        .map(|(id, vector)| (*id, vector))
        .collect();
    Features {
        image_ids: rows.iter().map(|(id, _)| *id).collect(),
        dimension,
        values: rows
            .iter()
            .flat_map(|(_, vector)| *vector)
            .copied()
            .collect(),
    }
}

/// The digest of each image's file.
fn read_digests(run: &RunFolder, manifest: &Manifest) -> Result<Vec<(u32, String)>> {
    let mut digests = Vec::new();
    for batch in run.rows(manifest, (images::image_id, images::digest)) {
        let batch = batch?;
        let rows = batch.iter();
        digests.extend(rows.filter_map(|(id, digest)| Some((id, digest?.to_string()))));
    }
    Ok(digests)
}
