use std::{collections::BTreeSet, fs, sync::Arc};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt32Array};
use prospect_common::Error;
use prospect_engine::schema::{classes, duplicates, features, images, predictions};
use prospect_store::{RunFolder, declare::Lists};
use prospect_testing::{Project, add_tables, run_stage, vectors};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const DIMENSION: usize = 5;
const PART_SIZE: usize = 32;

/// A run folder with images of slightly overlapping classes.
struct Fake {
    project: Project,
    labels: Vec<Option<i32>>,
    /// Class of each image's feature vector.
    shows: Vec<usize>,
    /// Duplicate pairs: two images and their group.
    copies: Vec<[u32; 3]>,
    /// The network's class names, in order of its logits.
    network: Vec<&'static str>,
}

const NAMES: [&str; 4] = ["cat", "dog", "owl", "rare"];

/// Images `6p` to `6p + 4` are of patient `p`; every sixth is of an unknown one.
fn patient(id: u32) -> Option<String> {
    (id % 6 < 5).then(|| format!("p{}", id / 6))
}

impl Fake {
    fn new(n: usize) -> Fake {
        Fake {
            project: Project::new(&format!(
                "[images]\ndir = \".\"\n[extract]\npart_size = {PART_SIZE}\n[model]\ndevice = \"cpu\"\n"
            )),
            labels: (0..n).map(|id| Some(id as i32 % 3)).collect(),
            shows: (0..n).map(|id| id % 3).collect(),
            copies: Vec::new(),
            network: vec!["owl", "car", "cat", "dog"],
        }
    }

    fn vector(&self, id: usize) -> Vec<f32> {
        let value = |x: usize| {
            let mixed = (id * 7919 + x * 104_729 + id * x * 31) % 1009;
            let own = if x == self.shows[id] { 0.9 } else { 0.0 };
            mixed as f32 / 1009.0 + own
        };
        (0..DIMENSION).map(value).collect()
    }

    /// Writes the tables of scan, extract and duplicates.
    fn write(&self, run: &RunFolder) {
        let n = self.labels.len() as u32;
        let images = partly([
            (
                images::image_id.name,
                Arc::new(UInt32Array::from_iter_values(0..n)),
            ),
            (
                images::label.name,
                Arc::new(Int32Array::from(self.labels.clone())),
            ),
            (
                "patient",
                Arc::new(StringArray::from_iter((0..n).map(patient))),
            ),
            (
                "site",
                Arc::new(StringArray::from_iter_values(
                    (0..n).map(|id| format!("{}", id / 100)),
                )),
            ),
        ]);
        let own = (0..)
            .zip(NAMES)
            .map(|(class, name)| (class, name, "dataset"));
        let theirs = (0..)
            .zip(&self.network)
            .map(|(class, name)| (class, *name, "model"));
        let all: Vec<(i32, &str, &str)> = own.chain(theirs).collect();
        let classes = classes::Columns {
            class: all.iter().map(|row| row.0).collect(),
            name: StringArray::from_iter_values(all.iter().map(|row| row.1)),
            source: StringArray::from_iter_values(all.iter().map(|row| row.2)),
        };
        let tables = [
            (images::NAME, images),
            (classes::NAME, classes.batch().unwrap()),
        ];
        add_tables(run, "scan", &tables);

        let ids: Vec<usize> = (0..self.labels.len()).collect();
        for ids in ids.chunks(PART_SIZE) {
            let image_ids: UInt32Array = ids.iter().map(|id| *id as u32).collect();
            let values = ids.iter().flat_map(|id| self.vector(*id));
            let features = features::Columns {
                image_id: image_ids.clone(),
                vector: Lists::new(values.collect(), DIMENSION),
            };
            // The network is confident of the true class.
            let logits = ids.iter().flat_map(|id| {
                let shown = NAMES[self.shows[*id]];
                let logit = move |name: &&str| if *name == shown { 3.0 } else { 0.0 };
                self.network.iter().map(logit).collect::<Vec<f32>>()
            });
            let predictions = partly([
                (predictions::image_id.name, Arc::new(image_ids)),
                (
                    predictions::logits.name,
                    vectors(logits, self.network.len()),
                ),
            ]);
            let tables = [
                (features::NAME, features.batch().unwrap()),
                (predictions::NAME, predictions),
            ];
            add_tables(run, "extract", &tables);
        }

        if !self.copies.is_empty() {
            let column = |at: usize| -> ArrayRef {
                let values = self.copies.iter().map(|row| row[at]);
                Arc::new(UInt32Array::from_iter_values(values))
            };
            let rows = partly([
                (duplicates::image_a.name, column(0)),
                (duplicates::image_b.name, column(1)),
                (duplicates::group_id.name, column(2)),
            ]);
            add_tables(run, "duplicates", &[(duplicates::NAME, rows)]);
        }
    }

    /// Runs or resumes the stage in its own run folder.
    fn try_run(&self, name: &str, set: &[&str]) -> Result<(RunFolder, Value)> {
        let run = self.project.run(name);
        if run.manifest()?.stages.is_empty() {
            self.write(&run);
        }
        let summary = (self.project).with(name, set, |ctx| run_stage(ctx, &STAGE))?;
        Ok((run, summary))
    }

    fn run(&self, name: &str, set: &[&str]) -> (RunFolder, Value) {
        self.try_run(name, set).unwrap()
    }
}

/// A batch with some of a table's columns.
fn partly<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A row of `probe`.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: u32,
    source: String,
    fold: Option<i16>,
    label: Option<i32>,
    pred: i32,
    p_label: Option<f32>,
    p_pred: f32,
    calibrated: Option<f32>,
    margin: f32,
    entropy: f32,
    probabilities: Vec<f32>,
}

fn rows(run: &RunFolder) -> Vec<Row> {
    let columns = (
        probe::image_id,
        probe::source,
        probe::fold,
        probe::label,
        probe::pred,
        probe::p_label,
        probe::p_pred,
        probe::calibrated,
        probe::margin,
        probe::entropy,
        probe::probabilities,
    );
    let mut rows = Vec::new();
    for batch in run.rows(&run.manifest().unwrap(), columns) {
        for cells in batch.unwrap().iter() {
            let (id, source, fold, label, pred, ..) = cells;
            let (.., p_label, p_pred, calibrated, margin, entropy, probabilities) = cells;
            rows.push(Row {
                id,
                source: source.to_string(),
                fold,
                label,
                pred,
                p_label,
                p_pred,
                calibrated,
                margin,
                entropy,
                probabilities: probabilities.to_vec(),
            });
        }
    }
    rows
}

fn count(run: &RunFolder, table: &str) -> u64 {
    run.read(&run.manifest().unwrap(), table).rows()
}

/// Path and checksum of each file of the stage.
fn files(run: &RunFolder) -> Vec<(String, String)> {
    let manifest = run.manifest().unwrap();
    let parts = manifest.stages[STAGE.name].parts.values();
    let files = parts.flat_map(|part| &part.files);
    files
        .map(|file| (file.path.clone(), file.blake3.clone()))
        .collect()
}

#[test]
fn predictions_come_from_models_that_saw_neither_the_image_nor_its_duplicates() {
    let mut fake = Fake::new(240);
    fake.labels[7] = None;
    // A wrong label, and the only image of its class.
    fake.labels[30] = Some(1);
    fake.labels[100] = Some(3);
    fake.copies = vec![[3, 6, 3], [3, 201, 3], [50, 80, 50]];
    let (run, summary) = fake.run("run", &[]);
    assert_eq!(summary["images"], 240);
    assert_eq!(summary["evaluated_images"], 238);
    assert_eq!(summary["classes"], 3);
    assert_eq!(summary["classes_left_out"], 1);
    assert!(summary["accuracy"].as_f64().unwrap() > 0.9, "{summary}");

    let rows = rows(&run);
    assert_eq!(rows.len(), 240);
    let mut per_fold = [0; 5];
    for (id, row) in rows.iter().enumerate() {
        assert_eq!((row.id as usize, row.source.as_str()), (id, "probe"));
        let p = &row.probabilities;
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let best = (0..3).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap();
        assert_eq!((row.pred, row.p_pred), (best as i32, p[best]));
        let entropy: f32 = p.iter().map(|p| -p * p.ln()).sum();
        assert!((row.entropy - entropy).abs() < 1e-5);
        let label = row.label.filter(|label| *label < 3);
        let of = label.map_or(best, |label| label as usize);
        assert_eq!(row.p_label, label.map(|_| p[of]));
        let rival = (0..3).filter(|class| *class != of).map(|class| p[class]);
        assert!((row.margin - (p[of] - rival.fold(0.0, f32::max))).abs() < 1e-6);
        assert_eq!(row.fold.is_some(), label.is_some());
        if let Some(fold) = row.fold {
            per_fold[fold as usize] += 1;
        }
    }
    assert!(
        per_fold.iter().all(|n| (45..=50).contains(n)),
        "{per_fold:?}"
    );
    assert_eq!(rows[3].fold, rows[6].fold);
    assert_eq!(rows[3].fold, rows[201].fold);
    assert_eq!(rows[50].fold, rows[80].fold);
    // The prediction is right although the label is wrong.
    assert_eq!((rows[30].label, rows[30].pred), (Some(1), 0));
    assert!(rows[30].margin < 0.0);
    assert_eq!(count(&run, "probe_classes"), 3);
    assert_eq!(count(&run, "probe_weights"), 15);
    assert_eq!(count(&run, "probe_calibration"), 15);
}

#[test]
fn a_group_of_the_metadata_shares_a_fold() {
    let mut fake = Fake::new(240);
    // Copies join the patients 0 and 9.
    fake.copies = vec![[2, 57, 2]];
    let csv = "file_name,patient,site\na.png,p0,0\n";
    fake.project.write("metadata.csv", csv);
    let set = |group| ["images.metadata='metadata.csv'", group];
    let (run, summary) = fake.run("run", &set("audit.group='patient'"));
    // 40 patients, two of them joined, and 40 images of unknown ones.
    assert_eq!(summary["groups"], 79);
    let rows = rows(&run);
    for pair in rows.windows(2) {
        if patient(pair[1].id).is_some() && patient(pair[0].id) == patient(pair[1].id) {
            assert_eq!(pair[0].fold, pair[1].fold);
        }
    }
    assert_eq!(rows[0].fold, rows[55].fold);
    let unknown: BTreeSet<Option<i16>> = (5..240).step_by(6).map(|id| rows[id].fold).collect();
    assert_eq!(unknown.len(), 5);
    // A value of any of several columns joins.
    let (_, summary) = fake.run("sites", &set("audit.group=['patient', 'site']"));
    assert!(
        summary["nothing_to_learn"]
            .as_str()
            .unwrap()
            .contains("[audit] group")
    );

    let error = fake.try_run("run", &set("audit.group='patients'"));
    let error = error.err().unwrap().to_string();
    let expected = "has no column patients; its columns are patient, site";
    assert!(error.contains(expected), "{error}");
    let error = fake.try_run("run", &["audit.group='patient'"]);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("[images] metadata is not set"), "{error}");
}

#[test]
fn weights_applied_to_features_give_the_stored_probabilities() {
    let fake = Fake::new(90);
    let (run, summary) = fake.run("run", &[]);
    let models = tables::read_models(&run, &run.manifest().unwrap()).unwrap();
    assert_eq!(models.len(), 5);
    for row in rows(&run) {
        let model = &models[row.fold.unwrap() as usize];
        let x = fake.vector(row.id as usize);
        let scores = model.weights.chunks(DIMENSION).zip(&model.bias);
        let scores = scores.map(|(w, b)| b + w.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>());
        let exps: Vec<f32> = scores.map(f32::exp).collect();
        let sum: f32 = exps.iter().sum();
        for (p, exp) in row.probabilities.iter().zip(&exps) {
            assert!((p - exp / sum).abs() < 1e-5);
        }
    }
    // The penalty with the lowest loss is chosen.
    let mut tried = Vec::new();
    let columns = (
        probe_quality::log_loss,
        probe_quality::l2,
        probe_quality::chosen,
        probe_quality::ece,
    );
    for batch in run.rows(&run.manifest().unwrap(), columns) {
        for (loss, l2, is_chosen, ece) in batch.unwrap().iter() {
            assert_eq!(ece.is_some(), is_chosen);
            tried.push((loss, l2.unwrap(), is_chosen));
        }
    }
    let best = tried.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(
        best.2 && tried.iter().filter(|row| row.2).count() == 1,
        "{tried:?}"
    );
    assert_eq!(summary["l2"].as_f64(), Some(best.1));
}

/// Labels wrong at random are what a linear model cannot show: it is as sure of them as of others.
#[test]
fn the_calibrated_confidence_knows_the_share_of_wrong_labels() {
    let mut fake = Fake::new(3000);
    let mut random = StdRng::seed_from_u64(5);
    for id in (0..3000).filter(|_| random.random_range(0..100) < 15) {
        fake.labels[id] = fake.labels[id].map(|label| (label + 1) % 3);
    }
    fake.labels[5] = None;
    let (run, summary) = fake.run("run", &[]);
    let error = |name: &str| summary[name].as_f64().unwrap();
    assert!(error("ece") > 0.08, "{summary}");
    assert!(error("ece_calibrated") < 0.03, "{summary}");
    let rows = rows(&run);
    let sure = rows.iter().filter(|row| row.p_pred > 0.9);
    let sure: Vec<f32> = sure.map(|row| row.calibrated.unwrap()).collect();
    let mean = sure.iter().sum::<f32>() / sure.len() as f32;
    assert!((mean - 0.85).abs() < 0.03, "{mean}");
    // An image without a label has a confidence too.
    assert!(rows[5].fold.is_none() && rows[5].calibrated.is_some());
}

#[test]
fn lost_parts_are_rewritten_with_the_same_bytes() {
    let fake = Fake::new(100);
    let (run, summary) = fake.run("run", &[]);
    let expected = files(&run);
    for lost in [
        &["tables/probe/part-00003.parquet"][..],
        &[
            "tables/probe_weights/part-00000.parquet",
            "tables/probe/part-00001.parquet",
        ],
    ] {
        for file in lost {
            fs::remove_file(run.path(file)).unwrap();
        }
        let (again, repeated) = fake.run("run", &[]);
        assert_eq!(files(&again), expected);
        assert_eq!(repeated, summary);
    }
}

#[test]
fn another_seed_gives_other_folds() {
    let fake = Fake::new(100);
    let folds = |run: &RunFolder| rows(run).iter().map(|row| row.fold).collect::<Vec<_>>();
    let (one, _) = fake.run("one", &[]);
    let (other, _) = fake.run("other", &["audit.seed=7", "audit.folds=3"]);
    assert_ne!(folds(&one), folds(&other));
    assert_eq!(folds(&other).iter().max(), Some(&Some(2)));
}

#[test]
fn without_two_classes_there_is_nothing_to_learn() {
    let mut one = Fake::new(40);
    one.labels.fill(Some(2));
    let mut none = Fake::new(40);
    none.labels.fill(None);
    let mut single = Fake::new(40);
    single.labels.fill(None);
    single.labels[..2].copy_from_slice(&[Some(0), Some(1)]);
    let no_features = Fake::new(0);
    for (fake, expected) in [
        (one, "fewer than two"),
        (none, "no image has a label"),
        (single, "fewer than two"),
        (no_features, "no image has features"),
    ] {
        for source in ["probe", "network"] {
            let (run, summary) = fake.run(source, &[&format!("audit.source={source}")]);
            if summary["nothing_to_learn"].is_null() {
                // The network needs no training images per class.
                assert_eq!(
                    (source, &summary["evaluated_images"]),
                    ("network", &json!(2))
                );
                continue;
            }
            let reason = summary["nothing_to_learn"].as_str().unwrap();
            assert!(reason.starts_with(expected), "{reason}");
            assert!(rows(&run).is_empty());
            assert_eq!(count(&run, "probe_quality"), 0);
        }
    }
}

#[test]
fn the_network_gives_probabilities_of_classes_that_it_knows() {
    let mut fake = Fake::new(70);
    fake.labels[9] = Some(1);
    fake.labels[10] = None;
    let (run, summary) = fake.run("network", &["audit.source=network"]);
    assert_eq!(summary["source"], "network");
    assert!(summary["caveat"].as_str().unwrap().contains("memorised"));
    assert!((summary["accuracy"].as_f64().unwrap() - 68.0 / 69.0).abs() < 1e-9);
    let found = rows(&run);
    assert_eq!(found.len(), 70);
    // Softmax over cat, dog and owl; no image is labelled car.
    let e = 3f32.exp();
    assert!((found[0].p_label.unwrap() - e / (e + 2.0)).abs() < 1e-6);
    assert_eq!(
        (found[9].label, found[9].pred, found[9].fold),
        (Some(1), 0, None)
    );
    assert_eq!((found[10].label, found[10].p_label), (None, None));
    assert!(found.iter().all(|row| row.source == "network"));
    assert!(found.iter().all(|row| row.calibrated.is_none()));
    assert!(
        !run.tables(&run.manifest().unwrap())
            .contains(&"probe_weights".to_string())
    );

    let ours = fake.run("probe", &[]).0;
    assert_eq!(rows(&ours)[9].pred, 0);
}

#[test]
fn a_network_that_does_not_know_the_classes_is_rejected() {
    let mut fake = Fake::new(70);
    fake.network = vec!["owl", "car"];
    let error = fake
        .try_run("network", &["audit.source=network"])
        .err()
        .unwrap();
    let message = error.to_string();
    assert!(matches!(error, Error::Config(_)));
    assert!(
        message.contains("2 of the 3 classes by name (cat, dog)"),
        "{message}"
    );
    assert!(message.contains("source = \"probe\""), "{message}");
}
