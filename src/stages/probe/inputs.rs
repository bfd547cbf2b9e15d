//! Images of the probe with their classes and folds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prospect_analysis::{
    audit::folds::folds,
    space::linalg::logistic::{Features, NO_FOLD, UNLABELLED, Visit},
};
use prospect_common::Result;
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context,
    schema::predictions,
    tables::{
        classes::{ClassNames, labels, name_of},
        features::FeatureReader,
        related::related_groups,
    },
};
use prospect_model::device::{self, Device};
use prospect_store::Manifest;

/// Bytes of a GPU's memory for cached rows.
const DEVICE_MEMORY: usize = 8 << 30;
/// Bytes for cached rows if the available memory is unknown.
const MEMORY: usize = 2 << 30;

/// One row per image with features or, if the network is the source, predictions; in order of the ids.
#[derive(Default)]
pub struct Inputs {
    pub image_ids: Vec<u32>,
    /// Labels, as the dataset's classes.
    pub labels: Vec<Option<i32>>,
    /// Index of the label in `classes`, or [`UNLABELLED`].
    pub positions: Vec<u32>,
    /// Fold of each row with a position; [`NO_FOLD`] for others.
    pub folds: Vec<u16>,
    pub classes: Vec<Class>,
    /// Classes left out because all their images are in one fold: no model could learn them without the images it predicts.
    pub classes_left_out: usize,
    /// Groups of related images; an image without others is one.
    pub groups: usize,
    /// Rows of the table, including images left out because their features are not finite.
    pub table_rows: usize,
    pub images_left_out: usize,
    /// Length of a feature vector.
    pub dimension: usize,
}

/// A class of the probe.
pub struct Class {
    pub number: i32,
    pub name: String,
    /// Images labelled with it.
    pub images: u32,
}

impl Inputs {
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Inputs> {
        match ctx.config.audit.source {
            ProbabilitySource::Probe => Inputs::of_features(ctx, manifest),
            ProbabilitySource::Network => Inputs::of_predictions(ctx, manifest),
        }
    }

    fn of_features(ctx: &Context, manifest: &Manifest) -> Result<Inputs> {
        let mut reader = FeatureReader::new(ctx.run, manifest, ctx.config.extract.part_size);
        let mut inputs = Inputs {
            table_rows: reader.rows(),
            ..Inputs::default()
        };
        for features in reader.by_ref() {
            ctx.cancel.check()?;
            let features = features?;
            inputs.dimension = features.dimension;
            inputs.image_ids.extend(features.image_ids);
        }
        inputs.images_left_out = reader.left_out;
        inputs.read_labels(ctx, manifest)?;
        let groups = related_groups(ctx, manifest, &inputs.image_ids)?;
        let settings = &ctx.config.audit;
        let labels = inputs.labels.iter();
        let numbers: Vec<Option<u32>> = labels.map(|label| label.map(|n| n as u32)).collect();
        inputs.groups = groups.iter().collect::<BTreeSet<_>>().len();
        inputs.folds = folds(&numbers, &groups, settings.folds as u16, settings.seed);
        inputs.number_classes(ctx, manifest, true)?;
        for (fold, position) in inputs.folds.iter_mut().zip(&inputs.positions) {
            if *position == UNLABELLED {
                *fold = NO_FOLD;
            }
        }
        Ok(inputs)
    }

    fn of_predictions(ctx: &Context, manifest: &Manifest) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        if manifest.has(predictions::NAME) {
            for batch in ctx.run.rows(manifest, (predictions::image_id,)) {
                inputs.image_ids.extend(batch?.columns().0.values());
            }
        }
        inputs.table_rows = inputs.image_ids.len();
        inputs.folds = vec![NO_FOLD; inputs.table_rows];
        inputs.read_labels(ctx, manifest)?;
        inputs.number_classes(ctx, manifest, false)?;
        Ok(inputs)
    }

    fn read_labels(&mut self, ctx: &Context, manifest: &Manifest) -> Result<()> {
        let of_images = labels(ctx.run, manifest)?;
        let label = |id: &u32| of_images.get(*id as usize).copied().flatten();
        self.labels = self.image_ids.iter().map(label).collect();
        Ok(())
    }

    /// Numbers the classes that occur; with `in_two_folds`, only those with images in at least two folds.
    fn number_classes(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        in_two_folds: bool,
    ) -> Result<()> {
        let mut of_classes: BTreeMap<i32, (u32, BTreeSet<u16>)> = BTreeMap::new();
        for (label, fold) in self.labels.iter().zip(&self.folds) {
            if let Some(label) = label {
                let (images, folds) = of_classes.entry(*label).or_default();
                *images += 1;
                folds.insert(*fold);
            }
        }
        let all = of_classes.len();
        of_classes.retain(|_, (_, folds)| !in_two_folds || folds.len() > 1);
        let places: HashMap<i32, u32> = of_classes.keys().copied().zip(0..).collect();
        let place = |label: &Option<i32>| places.get(&(*label)?).copied();
        let positions = self
            .labels
            .iter()
            .map(|label| place(label).unwrap_or(UNLABELLED));
        self.positions = positions.collect();
        let names = ClassNames::read(ctx.run, manifest)?.dataset;
        let classes = of_classes.into_iter().map(|(number, (images, _))| Class {
            number,
            name: name_of(&names, number),
            images,
        });
        self.classes = classes.collect();
        self.classes_left_out = all - self.classes.len();
        Ok(())
    }

    /// The row of an image.
    pub fn row(&self, image_id: u32) -> Option<usize> {
        self.image_ids.binary_search(&image_id).ok()
    }

    /// Number of rows whose label is one of the classes.
    pub fn evaluated(&self) -> usize {
        let known = self.positions.iter();
        known.filter(|position| **position != UNLABELLED).count()
    }
}

/// Calls `work` with the run's features, one row per row of the inputs.
pub fn with_features<T>(
    ctx: &Context,
    manifest: &Manifest,
    inputs: &Inputs,
    work: impl FnOnce(&Features) -> Result<T>,
) -> Result<T> {
    let blocks = |visit: &mut Visit| {
        let mut first = 0;
        for features in FeatureReader::new(ctx.run, manifest, ctx.config.extract.part_size) {
            ctx.cancel.check()?;
            let features = features?;
            visit(first, &features.values)?;
            first += features.image_ids.len();
        }
        Ok(())
    };
    let device = device::choose(ctx.config.model.device)?;
    let features = Features::new(&blocks, inputs.dimension, device, memory(device))?;
    work(&features)
}

/// Bytes for cached features: half of the available memory.
fn memory(device: Device) -> usize {
    if device != Device::Cpu {
        return DEVICE_MEMORY;
    }
    let kibibytes = |text: String| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    };
    let spare = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(kibibytes);
    spare.map_or(MEMORY, |spare| spare.saturating_mul(512))
}
