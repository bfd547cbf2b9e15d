//! A test run with three clusters of images.

use std::iter::repeat_n;

use arrow::array::{Float32Array, Float64Array, RecordBatch, StringArray};
use prospect_analysis::audit::label_issues::most_probable;
use prospect_engine::schema::{features, neighbors, probe, probe_classes, probe_quality};
use prospect_findings::Finding;
use prospect_store::declare::Lists;
use prospect_testing::{Fake, FakeImage, FakeLayer, add_tables};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::super::{STAGE, findings};

const CLASSES: [&str; 3] = ["hat", "shoe", "bag"];
const EACH: usize = 20;
const DIMENSION: usize = 6;

/// Three clusters of images, and the tables of the earlier stages.
pub struct Case {
    pub fake: Fake,
    pub labels: Vec<Option<i32>>,
    /// `[images, DIMENSION]`
    pub vectors: Vec<f32>,
    pub source: &'static str,
    /// Images per cluster.
    pub each: usize,
}

pub fn true_class(id: usize) -> i32 {
    (id / EACH) as i32
}

impl Case {
    /// Each label is the number of the cluster, except for these images.
    pub fn new(labels: &[(usize, Option<i32>)]) -> Case {
        Case::sized(EACH, labels)
    }

    /// With `each` images per cluster.
    pub fn sized(each: usize, labels: &[(usize, Option<i32>)]) -> Case {
        let true_class = |id: usize| (id / each) as i32;
        let mut given: Vec<Option<i32>> = (0..CLASSES.len() * each)
            .map(|id| Some(true_class(id)))
            .collect();
        for (id, label) in labels {
            given[*id] = *label;
        }
        let mut random = StdRng::seed_from_u64(5);
        let value = |at: usize| {
            let (id, axis) = (at / DIMENSION, at % DIMENSION);
            let centre = if axis as i32 == true_class(id) {
                6.0
            } else {
                0.0
            };
            centre + random.random_range(-0.5..0.5)
        };
        let vectors = (0..given.len() * DIMENSION).map(value).collect();
        let image = |id: usize| FakeImage {
            path: format!("{id}.png"),
            label: given[id].map(|label| (label, name(label))),
            error: None,
            picture: None,
        };
        let fake = Fake {
            images: (0..given.len()).map(image).collect(),
            network_classes: ["bag", "hat", "shoe"].map(String::from).to_vec(),
            predictions: given.iter().map(|_| (0, None)).collect(),
            ..Fake::default()
        };
        Case {
            fake,
            labels: given,
            vectors,
            source: "probe",
            each,
        }
    }

    /// With a network that predicts every label as given, right or wrong; its features and their neighbours follow the labels,
    /// and only the units of its first layer follow the clusters.
    pub fn memorised(mut self) -> Case {
        let network = |label: i32| (label + 1) % CLASSES.len() as i32;
        let labels = self.labels.iter().flatten();
        self.fake.predictions = labels.map(|label| (network(*label), Some(0.99))).collect();
        let layer = |name: &str, max: Vec<f32>| FakeLayer {
            name: name.into(),
            channels: DIMENSION as i32,
            height: 1,
            width: 1,
            field: None,
            argmax: vec![0; max.len()],
            max,
        };
        let early = self.vectors.clone();
        for (vector, label) in self.vectors.chunks_exact_mut(DIMENSION).zip(&self.labels) {
            for (axis, value) in vector.iter_mut().enumerate() {
                *value = if Some(axis as i32) == *label {
                    6.0
                } else {
                    0.0
                };
            }
        }
        self.fake.layers = vec![layer("early", early), layer("late", self.vectors.clone())];
        self
    }

    pub fn with_tables(self) -> Case {
        self.fake.write();
        let tables = [
            (features::NAME, self.features()),
            (neighbors::NAME, self.neighbors()),
            (probe::NAME, self.probe()),
            (probe_classes::NAME, self.classes()),
            (probe_quality::NAME, quality()),
        ];
        add_tables(&self.fake.run(), "probe", &tables);
        self
    }

    fn features(&self) -> RecordBatch {
        features::Columns {
            image_id: (0..self.labels.len() as u32).collect(),
            vector: Lists::new(self.vectors.clone(), DIMENSION),
        }
        .batch()
        .unwrap()
    }

    fn vector(&self, id: usize) -> &[f32] {
        &self.vectors[id * DIMENSION..(id + 1) * DIMENSION]
    }

    fn neighbors(&self) -> RecordBatch {
        let (mut ids, mut others, mut distances) = (Vec::new(), Vec::new(), Vec::new());
        for id in 0..self.labels.len() {
            let distance = |other: usize| -> f32 {
                let pairs = self.vector(id).iter().zip(self.vector(other));
                pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
            };
            let mut near: Vec<usize> = (0..self.labels.len())
                .filter(|other| *other != id)
                .collect();
            near.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
            for other in near.into_iter().take(5) {
                ids.push(id as u32);
                others.push(other as u32);
                distances.push(distance(other));
            }
        }
        let n = ids.len();
        neighbors::Columns {
            image_id: ids.into(),
            rank: (0..n as i16).map(|at| at % 5 + 1).collect(),
            neighbor_id: others.into(),
            distance: distances.into(),
            exact: vec![true; n].into(),
        }
        .batch()
        .unwrap()
    }

    /// Classes that can be learned.
    fn learned(&self) -> Vec<i32> {
        let mut classes: Vec<i32> = self.labels.iter().flatten().copied().collect();
        classes.sort_unstable();
        classes.dedup();
        // A class with a single image cannot be learned without that image.
        classes.retain(|class| {
            self.labels
                .iter()
                .filter(|label| **label == Some(*class))
                .count()
                > 1
        });
        classes
    }

    /// The probabilities of a classifier that knows the clusters.
    fn probe(&self) -> RecordBatch {
        let classes = self.learned();
        // Without classes there are no rows.
        let n = if classes.is_empty() {
            0
        } else {
            self.labels.len()
        };
        let mut probabilities = Vec::new();
        for id in 0..n {
            let scores = classes
                .iter()
                .map(|class| self.vector(id)[*class as usize % DIMENSION].exp());
            let sum: f32 = scores.clone().sum();
            probabilities.extend(scores.map(|score| score / sum));
        }
        let k = classes.len();
        let best = |id: usize| most_probable(&probabilities[id * k..][..k]);
        let fold = |id: usize| {
            let learned = self.labels[id].is_some_and(|label| classes.contains(&label));
            (learned && self.source == "probe").then_some((id % 2) as i16)
        };
        let preds = (0..n).map(|id| best(id).map_or(-1, |best| classes[best]));
        let shares = (0..n).map(|id| best(id).map_or(0.0, |best| probabilities[id * k + best]));
        probe::Columns {
            image_id: (0..n as u32).collect(),
            source: repeat_n(Some(self.source), n).collect(),
            fold: (0..n).map(fold).collect(),
            label: self.labels[..n].to_vec().into(),
            pred: preds.collect(),
            p_label: Float32Array::new_null(n),
            p_pred: shares.collect(),
            calibrated: Float32Array::new_null(n),
            margin: vec![0.0; n].into(),
            entropy: vec![0.0; n].into(),
            probabilities: Lists::new(probabilities.clone(), k),
        }
        .batch()
        .unwrap()
    }

    fn classes(&self) -> RecordBatch {
        let classes = self.learned();
        probe_classes::Columns {
            position: (0..classes.len() as i32).collect(),
            name: StringArray::from_iter_values(classes.iter().map(|class| name(*class))),
            images: vec![self.each as u32; classes.len()].into(),
            class: classes.into(),
        }
        .batch()
        .unwrap()
    }

    pub fn run(&self, set: &[&str]) -> Value {
        self.fake.run_stage(&STAGE, set).unwrap()
    }

    pub fn findings(&self, set: &[&str]) -> Vec<Finding> {
        (self.fake).read(set, |ctx, manifest| findings(ctx, manifest).unwrap())
    }
}

fn name(label: i32) -> String {
    CLASSES
        .get(label as usize)
        .map_or(format!("class {label}"), |name| name.to_string())
}

fn quality() -> RecordBatch {
    probe_quality::Columns {
        l2: vec![7.0, 0.01].into(),
        chosen: vec![false, true].into(),
        log_loss: vec![0.5, 0.1].into(),
        accuracy: vec![0.8, 0.9].into(),
        ece: Float64Array::new_null(2),
        ece_calibrated: Float64Array::new_null(2),
        brier: Float64Array::new_null(2),
        images: vec![60, 60].into(),
        passes: vec![9, 9].into(),
        converged: vec![true, true].into(),
    }
    .batch()
    .unwrap()
}
