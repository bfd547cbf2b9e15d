use std::{collections::HashMap, fs, path::Path};

use prospect_common::Error;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;
use serde_json::Value;
use tch::Device;

use super::*;

const DIMENSION: usize = 6;
const CLASSES: usize = 3;

/// Overlapping clusters far from the origin, some rows without a label.
struct Clusters {
    values: Vec<f32>,
    labels: Vec<u32>,
    folds: Vec<u16>,
    weights: Vec<f32>,
}

fn clusters(n: usize) -> Clusters {
    let mut random = StdRng::seed_from_u64(5);
    let mut normal = move || -> f32 { random.sample(StandardNormal) };
    let label = |row: usize| {
        if row % 11 == 7 {
            UNLABELLED
        } else {
            (row % CLASSES) as u32
        }
    };
    let values = (0..n).flat_map(|row| {
        let row: Vec<f32> = (0..DIMENSION)
            .map(|x| {
                10.0 + x as f32 * normal()
                    + if x % CLASSES == row % CLASSES {
                        1.5
                    } else {
                        0.0
                    }
            })
            .collect();
        row
    });
    Clusters {
        values: values.collect(),
        labels: (0..n).map(label).collect(),
        folds: (0..n).map(|row| (row / 7 % 4) as u16).collect(),
        weights: (0..n).map(|row| (row % 5) as f32 / 2.0).collect(),
    }
}

impl Clusters {
    fn problem(&self) -> Problem<'_> {
        Problem {
            classes: CLASSES,
            labels: &self.labels,
            weights: Some(&self.weights),
            folds: &self.folds,
            n_folds: 4,
        }
    }

    /// Features kept in memory or, with little of it, read in blocks of `at_a_time` rows in every pass.
    fn with<T>(&self, memory: usize, at_a_time: usize, work: impl Fn(&Features) -> T) -> T {
        let blocks = |visit: &mut Visit| {
            let chunks = self.values.chunks(at_a_time * DIMENSION).enumerate();
            chunks
                .into_iter()
                .try_for_each(|(at, values)| visit(at * at_a_time, values))
        };
        work(&Features::new(&blocks, DIMENSION, Device::Cpu, memory).unwrap())
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * DIMENSION..(row + 1) * DIMENSION]
    }

    fn is_training(&self, row: usize, fold: usize) -> bool {
        self.labels[row] != UNLABELLED && usize::from(self.folds[row]) != fold
    }
}

const AMPLE: usize = 1 << 30;

fn tight(l2: L2) -> Settings<'static> {
    Settings {
        l2,
        tolerance: 1e-9,
        ..Settings::default()
    }
}

fn silent(_: &Progress) -> Result<()> {
    Ok(())
}

/// Softmax of the logits, in float64.
fn probabilities(model: &Model, x: &[f32]) -> Vec<f64> {
    let scores = model.weights.chunks(DIMENSION).zip(&model.bias);
    let scores = scores.map(|(w, b)| {
        let products = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
        products.sum::<f64>() + f64::from(*b)
    });
    let scores: Vec<f64> = scores.collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    scores
        .iter()
        .map(|score| (score - max).exp() / sum)
        .collect()
}

/// Gradient of a fold's loss, by the definition in the module's documentation.
fn gradient(data: &Clusters, fold: usize, model: &Model, l2: f64) -> Vec<f64> {
    let rows = (0..data.labels.len()).filter(|row| data.is_training(*row, fold));
    let total: f64 = rows.clone().map(|row| f64::from(data.weights[row])).sum();
    let mut sums = vec![0.0; CLASSES * (DIMENSION + 1)];
    for row in rows {
        let p = probabilities(model, data.row(row));
        for (class, sums) in sums.chunks_mut(DIMENSION + 1).enumerate() {
            let target = if data.labels[row] as usize == class {
                1.0
            } else {
                0.0
            };
            let rest = f64::from(data.weights[row]) / total * (p[class] - target);
            let x = data.row(row).iter().map(|x| f64::from(*x)).chain([1.0]);
            sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += rest * x);
        }
    }
    for (class, sums) in sums.chunks_mut(DIMENSION + 1).enumerate() {
        let weights = &model.weights[class * DIMENSION..];
        let penalty = weights.iter().map(|w| l2 * f64::from(*w));
        sums.iter_mut()
            .take(DIMENSION)
            .zip(penalty)
            .for_each(|(sum, w)| *sum += w);
    }
    sums
}

#[test]
fn the_gradient_vanishes_at_every_folds_model() {
    let data = clusters(700);
    for l2 in [1.0, 1e-2, 1e-5] {
        let fit = data.with(AMPLE, 700, |features| {
            fit(features, &data.problem(), &tight(L2::Fixed(l2)), &silent).unwrap()
        });
        assert_eq!((fit.l2, fit.models.len(), fit.trials.len()), (l2, 4, 1));
        assert!(fit.trials[0].converged);
        for (fold, model) in fit.models.iter().enumerate() {
            let gradient = gradient(&data, fold, model, l2);
            let max = gradient.iter().fold(0f64, |max, g| max.max(g.abs()));
            assert!(max < 2e-4, "{l2} {fold}: {max}");
        }
    }
}

#[test]
fn held_out_results_match_the_predictions_of_held_out_rows() {
    let data = clusters(700);
    data.with(AMPLE, 700, |features| {
        let fit = fit(features, &data.problem(), &Settings::default(), &silent).unwrap();
        let chosen = fit.trials.iter().find(|trial| trial.l2 == fit.l2).unwrap();
        assert!(
            fit.trials
                .iter()
                .all(|trial| trial.log_loss >= chosen.log_loss)
        );
        assert!(fit.trials.windows(2).all(|pair| pair[0].l2 > pair[1].l2));
        let mut found = Vec::new();
        predict(features, &fit.models, &data.folds, &mut |first, p| {
            assert_eq!(first * CLASSES, found.len());
            found.extend_from_slice(p);
            Ok(())
        })
        .unwrap();
        let (mut log_loss, mut right, mut total) = (0.0, 0.0, 0.0);
        for row in 0..700 {
            let p = &found[row * CLASSES..(row + 1) * CLASSES];
            let expected = probabilities(&fit.models[usize::from(data.folds[row])], data.row(row));
            for (p, expected) in p.iter().zip(&expected) {
                assert!((f64::from(*p) - expected).abs() < 1e-5);
            }
            if data.labels[row] != UNLABELLED {
                let label = data.labels[row] as usize;
                let weight = f64::from(data.weights[row]);
                log_loss -= weight * expected[label].ln();
                let best = (0..CLASSES).max_by(|a, b| expected[*a].total_cmp(&expected[*b]));
                right += if best == Some(label) { weight } else { 0.0 };
                total += weight;
            }
        }
        assert!((log_loss / total - chosen.log_loss).abs() < 1e-5);
        assert!((right / total - chosen.accuracy).abs() < 1e-9);
    });
}

#[test]
fn rows_without_a_fold_get_the_mean_of_all_models() {
    let data = clusters(100);
    data.with(AMPLE, 100, |features| {
        let settings = tight(L2::Fixed(0.1));
        let models = fit(features, &data.problem(), &settings, &silent)
            .unwrap()
            .models;
        let mut found = Vec::new();
        predict(features, &models, &[NO_FOLD; 100], &mut |_, p| {
            found.extend_from_slice(p);
            Ok(())
        })
        .unwrap();
        let of_all = models
            .iter()
            .map(|model| probabilities(model, data.row(31)));
        let mean = of_all.map(|p| p[2]).sum::<f64>() / 4.0;
        assert!((f64::from(found[31 * CLASSES + 2]) - mean).abs() < 1e-5);
    });
}

#[test]
fn fits_are_bit_identical_for_any_number_of_threads() {
    let data = clusters(3000);
    let fitted = || {
        data.with(AMPLE, 3000, |features| {
            fit(features, &data.problem(), &Settings::default(), &silent).unwrap()
        })
    };
    let one = fitted();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        assert_eq!(pool.install(fitted), one);
    }
}

#[test]
fn little_memory_reads_the_rows_again_and_fits_fold_by_fold() {
    let data = clusters(2100);
    let problem = data.problem();
    let fitted = |memory, at_a_time| {
        data.with(memory, at_a_time, |features| {
            assert_eq!(
                (features.rows(), features.is_kept()),
                (2100, memory == AMPLE)
            );
            let settings = Settings {
                memory,
                ..tight(L2::Fixed(0.01))
            };
            fit(features, &problem, &settings, &silent).unwrap()
        })
    };
    let (whole, cut) = (fitted(AMPLE, 2100), fitted(1000, 300));
    assert!(cut.trials[0].passes > whole.trials[0].passes);
    for (a, b) in whole.models.iter().zip(&cut.models) {
        for (a, b) in a.weights.iter().zip(&b.weights) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

#[test]
fn a_class_without_training_rows_has_zero_probability_and_is_excluded() {
    let mut data = clusters(300);
    data.weights.fill(1.0);
    // The last class has rows of fold 1 only.
    for row in 0..300 {
        if data.labels[row] == 2 && data.folds[row] != 1 {
            data.labels[row] = 0;
        }
    }
    data.with(AMPLE, 300, |features| {
        let fit = fit(features, &data.problem(), &Settings::default(), &silent).unwrap();
        assert!(
            fit.trials
                .iter()
                .all(|trial| trial.converged && trial.log_loss < 3.0)
        );
        for (fold, model) in fit.models.iter().enumerate() {
            let p = probabilities(model, data.row(0));
            assert_eq!(p[2] == 0.0, fold == 1);
            assert!(
                model
                    .weights
                    .iter()
                    .chain(&model.bias)
                    .all(|w| w.is_finite())
            );
        }
    });
}

#[test]
fn a_warm_start_at_the_solution_takes_one_pass() {
    let data = clusters(700);
    let problem = data.problem();
    data.with(AMPLE, 700, |features| {
        let settings = tight(L2::Fixed(0.01));
        let cold = fit(features, &problem, &settings, &silent).unwrap();
        let start = Some(cold.models.as_slice());
        let settings = Settings {
            start,
            tolerance: 1e-6,
            ..settings
        };
        let warm = fit(features, &problem, &settings, &silent).unwrap();
        assert_eq!(warm.trials[0].passes, 1);
        assert!((warm.trials[0].log_loss - cold.trials[0].log_loss).abs() < 1e-6);
    });
}

#[test]
fn degenerate_problems_are_solved() {
    // One class; no labels; constant features.
    let data = clusters(60);
    let one = Problem {
        classes: 1,
        labels: &[0; 60],
        weights: None,
        ..data.problem()
    };
    let none = Problem {
        labels: &[UNLABELLED; 60],
        ..data.problem()
    };
    data.with(AMPLE, 60, |features| {
        let found = fit(features, &one, &Settings::default(), &silent).unwrap();
        assert_eq!(
            (found.trials[0].log_loss, found.trials[0].accuracy),
            (0.0, 1.0)
        );
        let found = fit(features, &none, &Settings::default(), &silent).unwrap();
        assert!(found.trials[0].log_loss.is_nan());
    });
    let constant = Clusters {
        values: vec![3.0; 60 * DIMENSION],
        ..clusters(60)
    };
    constant.with(AMPLE, 60, |features| {
        let found = fit(features, &constant.problem(), &Settings::default(), &silent).unwrap();
        assert!(found.trials[0].log_loss < 1.2);
    });
}

#[test]
fn a_failing_tick_stops_the_fit_and_invalid_rows_are_refused() {
    let data = clusters(60);
    data.with(AMPLE, 60, |features| {
        let stop = |_: &Progress| Err(Error::Interrupted);
        assert!(fit(features, &data.problem(), &Settings::default(), &stop).is_err());
        let labels = vec![CLASSES as u32; 60];
        let invalid = Problem {
            labels: &labels,
            ..data.problem()
        };
        assert!(fit(features, &invalid, &Settings::default(), &silent).is_err());
        let invalid = Problem {
            n_folds: 3,
            ..data.problem()
        };
        assert!(fit(features, &invalid, &Settings::default(), &silent).is_err());
        let invalid = Problem {
            folds: &[0; 59],
            ..data.problem()
        };
        assert!(fit(features, &invalid, &Settings::default(), &silent).is_err());
    });
    let infinite = |visit: &mut Visit| visit(0, &[f32::INFINITY; 4]);
    assert!(Features::new(&infinite, 2, Device::Cpu, AMPLE).is_err());
}

/// Tolerances for float32 against float64, each at its own minimum: of a probability, and relative to a log-loss.
const PROBABILITY: f64 = 5e-4;
const LOSS: f64 = 1e-4;

/// Tensors from tests/golden/make_probe.py: bytes by name.
fn golden() -> HashMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/probe.safetensors");
    let file = fs::read(path).unwrap();
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: HashMap<String, Value> = serde_json::from_slice(header).unwrap();
    let tensors = header.into_iter().map(|(name, entry)| {
        let at = |end: usize| entry["data_offsets"][end].as_u64().unwrap() as usize;
        (name, data[at(0)..at(1)].to_vec())
    });
    tensors.collect()
}

fn numbers<const N: usize, T>(bytes: &[u8], of: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| of(*bytes)).collect()
}

#[test]
fn probabilities_and_losses_equal_scikit_learns() {
    let golden = golden();
    for name in ["plain", "weighted", "wide"] {
        let tensor = |key: &str| golden.get(&format!("{name}.{key}")).cloned();
        let values = numbers(&tensor("features").unwrap(), f32::from_le_bytes);
        let labels = numbers(&tensor("labels").unwrap(), u32::from_le_bytes);
        let folds = numbers(&tensor("folds").unwrap(), u16::from_le_bytes);
        let weights = tensor("weights").map(|bytes| numbers(&bytes, f32::from_le_bytes));
        let penalties = numbers(&tensor("penalties").unwrap(), f64::from_le_bytes);
        let losses = numbers(&tensor("log_loss").unwrap(), f64::from_le_bytes);
        let expected = numbers(&tensor("probabilities").unwrap(), f32::from_le_bytes);
        let n = labels.len();
        let classes = expected.len() / n / penalties.len();
        let problem = Problem {
            classes,
            labels: &labels,
            weights: weights.as_deref(),
            folds: &folds,
            n_folds: 5,
        };
        let blocks = |visit: &mut Visit| visit(0, &values);
        let features = Features::new(&blocks, values.len() / n, Device::Cpu, AMPLE).unwrap();
        let cases = penalties
            .iter()
            .zip(losses)
            .zip(expected.chunks(n * classes));
        for ((l2, loss), expected) in cases {
            let fit = fit(&features, &problem, &tight(L2::Fixed(*l2)), &silent).unwrap();
            let trial = &fit.trials[0];
            assert!(
                (trial.log_loss / loss - 1.0).abs() < LOSS,
                "{name} {l2}: {trial:?} {loss}"
            );
            let mut found = Vec::new();
            predict(&features, &fit.models, &folds, &mut |_, p| {
                found.extend_from_slice(p);
                Ok(())
            })
            .unwrap();
            let difference = found
                .iter()
                .zip(expected)
                .map(|(a, b)| f64::from((a - b).abs()));
            let difference = difference.fold(0.0, f64::max);
            assert!(difference < PROBABILITY, "{name} {l2}: {difference}");
        }
    }
}
