//! Ablation of marks and single units: the effect on the classifier, in three passes over the features.

use std::collections::HashMap;

use prospect_analysis::audit::shortcuts::head::{Ablation, Linear};
use prospect_common::Result;
use prospect_engine::{Context, schema::probe_weights, tables::features::FeatureReader};
use prospect_store::Manifest;

use super::evaluation::Evaluation;

/// Features in memory at a time.
const BLOCK_ROWS: usize = 1024;
/// Maximum images per class for the ablation of single units, evenly spaced.
const MAX_SAMPLE: u64 = 100;
/// Maximum units ablated per class: those with the largest attribution.
const MAX_UNITS: usize = 5;

/// The linear classifier on the features.
pub struct Head {
    /// The probe's, one per fold, or the network's.
    models: Vec<Linear>,
    /// Row of the weights for each label.
    row_of: Vec<Option<usize>>,
    /// The model that was not trained on the image, by image id.
    model_of: Vec<Option<usize>>,
}

/// Effect of ablating a unit of the feature layer.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitAblation {
    pub class: u32,
    pub unit: usize,
    pub ablation: Ablation,
}

/// Effects of all ablations.
pub struct Ablations {
    /// By mark: on its images, without the mark's contribution.
    pub of_marks: Vec<Ablation>,
    /// By class, largest attribution first.
    pub of_units: Vec<UnitAblation>,
}

impl Head {
    /// The head of the probe or else the network; `None` if neither predicts the dataset's classes.
    pub fn read(
        ctx: &Context,
        manifest: &Manifest,
        evaluation: &Evaluation,
    ) -> Result<Option<Head>> {
        if evaluation.source.as_deref() == Some("probe") && manifest.has(probe_weights::NAME) {
            return Head::of_probe(ctx, manifest, evaluation).map(Some);
        }
        let network = evaluation.names.network_of_dataset();
        if evaluation.source.as_deref() != Some("network") || ctx.config.model.path.is_none() {
            return Ok(None);
        }
        let feature = &ctx.config.extract.feature_layer;
        let Some((weights, bias)) = ctx.model()?.last_linear(feature)? else {
            return Ok(None);
        };
        let row = |label: &i32| {
            network
                .get(label)
                .and_then(|&class| usize::try_from(class).ok())
        };
        Ok(Some(Head {
            row_of: (evaluation.classes.iter())
                .map(|label| row(label).filter(|&row| row < bias.len()))
                .collect(),
            models: vec![Linear { weights, bias }],
            model_of: evaluation.p_label.iter().map(|p| p.map(|_| 0)).collect(),
        }))
    }

    fn of_probe(ctx: &Context, manifest: &Manifest, evaluation: &Evaluation) -> Result<Head> {
        let mut models: Vec<Linear> = Vec::new();
        let mut rows: HashMap<i32, usize> = HashMap::new();
        let columns = (
            probe_weights::fold,
            probe_weights::class,
            probe_weights::bias,
            probe_weights::weights,
        );
        for batch in ctx.run.rows(manifest, columns) {
            let batch = batch?;
            for (fold, class, bias, weights) in batch.iter() {
                let Ok(fold) = usize::try_from(fold) else {
                    return Err(batch.unexpected("folds from 0", fold.to_string()));
                };
                if fold >= models.len() {
                    models.resize_with(fold + 1, || Linear {
                        weights: Vec::new(),
                        bias: Vec::new(),
                    });
                }
                let model = &mut models[fold];
                // Every fold has the same classes in the same order.
                let at = model.bias.len();
                if *rows.entry(class).or_insert(at) != at {
                    return Err(batch
                        .unexpected("the same order of classes in all folds", "different ones"));
                }
                model.bias.push(bias);
                model.weights.extend_from_slice(weights);
            }
        }
        let row_of = |label: &i32| rows.get(label).copied();
        let known = |fold: &Option<u16>| fold.map(usize::from).filter(|&fold| fold < models.len());
        Ok(Head {
            row_of: evaluation.classes.iter().map(row_of).collect(),
            model_of: evaluation.fold.iter().map(known).collect(),
            models,
        })
    }

    /// Length of a feature vector.
    pub fn dimension(&self) -> usize {
        self.models.first().map_or(0, Linear::dimension)
    }

    /// The model that was not trained on the image, and its row for the image's label.
    fn of_image(&self, image_id: u32, class: u32) -> Option<(usize, usize)> {
        let model = self.model_of.get(image_id as usize).copied().flatten()?;
        Some((model, self.row_of[class as usize]?))
    }

    /// Ablates each mark, given as the class and the ascending ids of its marked images, and the units that each class relies on most.
    ///
    /// A mark's contribution is the mean feature vector of the class's marked images minus that of its other images, since a mark
    /// detected only by an early layer has no feature of its own. A unit is ablated by setting it to its mean over the other
    /// classes.
    pub fn ablate(
        &self,
        ctx: &Context,
        manifest: &Manifest,
        evaluation: &Evaluation,
        marks: &[(u32, &[u32])],
    ) -> Result<Ablations> {
        let n_marks = marks.len();
        let marks = Marks::of(marks);
        let n_classes = evaluation.classes.len();
        let mut dimension = 0;
        // Feature sums by class and, for each mark, of the class's marked and other images.
        let mut by_class: Vec<Sum> = Vec::new();
        let mut by_mark: Vec<[Sum; 2]> = Vec::new();
        visit(ctx, manifest, evaluation, |id, class, features| {
            if dimension == 0 {
                dimension = features.len();
                by_class = vec![Sum::new(dimension); n_classes];
                by_mark = vec![[Sum::new(dimension), Sum::new(dimension)]; n_marks];
            }
            by_class[class as usize].add(features);
            for &mark in marks.of_class(class) {
                by_mark[mark][usize::from(!marks.is_marked(mark, id))].add(features);
            }
        })?;
        let mut found = Ablations {
            of_marks: vec![Ablation::default(); n_marks],
            of_units: Vec::new(),
        };
        if dimension == 0
            || self
                .models
                .iter()
                .any(|model| model.dimension() != dimension)
        {
            return Ok(found);
        }
        let others = others(&by_class, dimension);

        // Change of each model's logits when the mark is ablated.
        let changes: Vec<Vec<Vec<f64>>> = (by_mark.iter())
            .map(|[marked, rest]| {
                let change: Vec<f64> = (marked.mean().zip(rest.mean()))
                    .map(|(marked, rest)| rest - marked)
                    .collect();
                self.models
                    .iter()
                    .map(|model| model.change(&change))
                    .collect()
            })
            .collect();
        let intervals: Vec<u64> = by_class
            .iter()
            .map(|sum| sum.n.div_ceil(MAX_SAMPLE).max(1))
            .collect();
        let mut attributions = vec![vec![0.0; dimension]; n_classes];
        let mut seen = vec![0_u64; n_classes];
        visit(ctx, manifest, evaluation, |id, class, features| {
            let of_class = class as usize;
            let sampled = seen[of_class].is_multiple_of(intervals[of_class]);
            seen[of_class] += 1;
            let Some((model, row)) = self.of_image(id, class) else {
                return;
            };
            let linear = &self.models[model];
            if sampled {
                linear.add_attributions(
                    features,
                    row,
                    &others[of_class],
                    &mut attributions[of_class],
                );
            }
            for &mark in marks.of_class(class) {
                if marks.is_marked(mark, id) && by_mark[mark][1].n > 0 {
                    let logits = linear.logits(features);
                    found.of_marks[mark].add(&logits, &changes[mark][model], row);
                }
            }
        })?;

        let chosen: Vec<Vec<usize>> = attributions
            .iter()
            .map(|attributions| largest_positive(attributions, MAX_UNITS))
            .collect();
        let mut units: Vec<Vec<Ablation>> = (chosen.iter())
            .map(|units| vec![Ablation::default(); units.len()])
            .collect();
        seen.fill(0);
        visit(ctx, manifest, evaluation, |id, class, features| {
            let of_class = class as usize;
            let sampled = seen[of_class].is_multiple_of(intervals[of_class]);
            seen[of_class] += 1;
            let Some((model, row)) = self.of_image(id, class).filter(|_| sampled) else {
                return;
            };
            let linear = &self.models[model];
            let logits = linear.logits(features);
            for (ablation, &unit) in units[of_class].iter_mut().zip(&chosen[of_class]) {
                let change = others[of_class][unit] - f64::from(features[unit]);
                ablation.add(&logits, &linear.change_of_unit(unit, change), row);
            }
        })?;
        for (class, (ablations, chosen)) in (0..).zip(units.into_iter().zip(chosen)) {
            let units = chosen.into_iter().zip(ablations);
            (found.of_units).extend(units.map(|(unit, ablation)| UnitAblation {
                class,
                unit,
                ablation,
            }));
        }
        Ok(found)
    }
}

/// Visits the features of every labelled image, ordered by id.
fn visit(
    ctx: &Context,
    manifest: &Manifest,
    evaluation: &Evaluation,
    mut take: impl FnMut(u32, u32, &[f32]),
) -> Result<()> {
    for block in FeatureReader::new(ctx.run, manifest, BLOCK_ROWS) {
        let block = block?;
        ctx.cancel.check()?;
        let vectors = block.values.chunks_exact(block.dimension.max(1));
        for (&id, features) in block.image_ids.iter().zip(vectors) {
            if let Some(class) = evaluation.label_of(id) {
                take(id, class, features);
            }
        }
    }
    Ok(())
}

/// The images of each mark.
struct Marks<'m> {
    by_class: HashMap<u32, Vec<usize>>,
    /// Classes, and ascending ids.
    marks: &'m [(u32, &'m [u32])],
}

impl Marks<'_> {
    fn of<'m>(marks: &'m [(u32, &'m [u32])]) -> Marks<'m> {
        let mut by_class: HashMap<u32, Vec<usize>> = HashMap::new();
        for (at, (class, _)) in marks.iter().enumerate() {
            by_class.entry(*class).or_default().push(at);
        }
        Marks { by_class, marks }
    }

    fn of_class(&self, class: u32) -> &[usize] {
        self.by_class.get(&class).map_or(&[], Vec::as_slice)
    }

    fn is_marked(&self, mark: usize, image_id: u32) -> bool {
        self.marks[mark].1.binary_search(&image_id).is_ok()
    }
}

#[derive(Clone)]
struct Sum {
    n: u64,
    values: Vec<f64>,
}

impl Sum {
    fn new(dimension: usize) -> Sum {
        Sum {
            n: 0,
            values: vec![0.0; dimension],
        }
    }

    fn add(&mut self, features: &[f32]) {
        self.n += 1;
        for (sum, &value) in self.values.iter_mut().zip(features) {
            *sum += f64::from(value);
        }
    }

    fn mean(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|sum| sum / self.n.max(1) as f64)
    }
}

/// For each class, the mean over the images of all other classes.
fn others(by_class: &[Sum], dimension: usize) -> Vec<Vec<f64>> {
    let mut all = Sum::new(dimension);
    for sum in by_class {
        all.n += sum.n;
        for (total, value) in all.values.iter_mut().zip(&sum.values) {
            *total += value;
        }
    }
    let mean = |own: &Sum| {
        let n = (all.n - own.n).max(1) as f64;
        let rest = all.values.iter().zip(&own.values);
        rest.map(|(total, own)| (total - own) / n).collect()
    };
    by_class.iter().map(mean).collect()
}

/// Indices of the `n` largest positive values, largest first.
fn largest_positive(values: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&at| values[at] > 0.0).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(n);
    order
}
