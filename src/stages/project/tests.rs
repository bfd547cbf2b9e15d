use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use prospect_config::ProjectionMethod::{Pca as ByPca, PcaLinfa, Tsne, TsneLinfa, Umap};
use prospect_engine::{Decision, plan, tables::features::read_features};
use prospect_output::picture::{Picture, png};
use prospect_testing::golden;

use super::{
    super::STAGES,
    tables::{Place, Quality},
    *,
};

const ALL: &str = "project.methods=[\"pca\", \"tsne\", \"umap\", \"pca-linfa\", \"tsne-linfa\"]";
const NO_LABELS: &str = "images.labels=\"none\"";
const METHODS: [ProjectionMethod; 5] = [ByPca, Tsne, Umap, PcaLinfa, TsneLinfa];

/// Folders of pictures, and runs over them with a golden network.
struct Project(prospect_testing::Project);

/// A pseudo-random picture of 24 x 24 pixels; even numbers give brighter ones.
fn picture(number: usize) -> Vec<u8> {
    let mut picture = Picture::filled(24, 24, [0; 3]);
    let mut state = number as u64 + 1;
    for value in &mut picture.pixels {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(97);
        let random = (state >> 57) as u8;
        *value = if number.is_multiple_of(2) {
            128 + random
        } else {
            random
        };
    }
    png(&picture).unwrap()
}

impl Project {
    /// A project with `images` pictures in two class folders.
    fn new(images: usize) -> Project {
        let settings = format!(
            "[images]\ndir = \"photos\"\nmax_bad_fraction = 0.9\n[model]\npath = {:?}\ndevice = \"cpu\"\n[extract]\npart_size = 7\n",
            golden("plain.pt2"),
        );
        let project = Project(prospect_testing::Project::new(&settings).with_stages(STAGES));
        for number in 0..images {
            project.add("photos", number, &picture(number));
        }
        project
    }

    fn add(&self, folder: &str, number: usize, bytes: &[u8]) {
        let class = ["round", "square"][number % 2];
        self.0
            .write(&format!("{folder}/{class}/{number:02}.png"), bytes);
    }

    /// Brings the stage up to date; returns its summary.
    fn run(&self, run: &str, set: &[&str]) -> Result<Value> {
        self.0.update(run, set, "project")
    }

    /// The planner's decision about the stage.
    fn decision(&self, run: &str, set: &[&str]) -> Decision {
        self.0.with(run, set, |ctx| {
            let plan = plan(ctx, &["project".to_string()]).unwrap();
            plan.stages.last().unwrap().decision.clone()
        })
    }

    fn places(&self, run: &str, method: ProjectionMethod) -> BTreeMap<u32, Place> {
        self.0.with(run, &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            let places = tables::read_places(ctx.run, &manifest, method).unwrap();
            places.into_iter().collect()
        })
    }

    fn pca(&self, run: &str) -> Pca {
        self.0.with(run, &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            tables::read_components(ctx.run, &manifest).unwrap()
        })
    }

    /// Feature vector of each image.
    fn features(&self, run: &str) -> BTreeMap<u32, Vec<f32>> {
        self.0.with(run, &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            let (features, _) = read_features(ctx.run, &manifest).unwrap();
            let vectors = features
                .values
                .chunks(features.dimension)
                .map(<[f32]>::to_vec);
            features.image_ids.into_iter().zip(vectors).collect()
        })
    }

    fn quality(&self, run: &str) -> BTreeMap<String, Quality> {
        self.0.with(run, &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            let rows = tables::read_quality(ctx.run, &manifest).unwrap();
            rows.into_iter().collect()
        })
    }

    /// Paths and contents of the stage's files.
    fn files(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        self.0.with(run, &[], |ctx| {
            let manifest = ctx.run.manifest().unwrap();
            let parts = manifest.stages["project"].parts.values();
            let files = parts.flat_map(|part| &part.files);
            files
                .map(|file| {
                    (
                        file.path.clone(),
                        fs::read(ctx.run.path(&file.path)).unwrap(),
                    )
                })
                .collect()
        })
    }
}

#[test]
fn every_method_places_every_readable_image() {
    let project = Project::new(40);
    project.add("photos", 77, b"no picture");
    let summary = project.run("run", &[ALL]).unwrap();
    assert_eq!(
        (&summary["images"], &summary["left_out"]),
        (&json!(40), &json!(0))
    );
    assert_eq!(summary["umap_neighbors"], "from table neighbors");
    let features = project.features("run");
    let pca = project.pca("run");
    assert_eq!(summary["components"], pca.len());
    for method in METHODS {
        let places = project.places("run", method);
        assert!(places.keys().eq(features.keys()), "{}", method.name());
        assert!(
            places
                .values()
                .all(|(place, placed)| !placed && place.iter().all(|x| x.is_finite()))
        );
        let different: BTreeSet<[u32; 2]> = places
            .values()
            .map(|([x, y, _], _)| [x.to_bits(), y.to_bits()])
            .collect();
        assert!(
            different.len() > 35,
            "{}: {}",
            method.name(),
            different.len()
        );
    }
    for (id, (place, _)) in project.places("run", ByPca) {
        assert_eq!(place[..], pca.transform(&features[&id])[..3]);
    }
    let quality = project.quality("run");
    assert_eq!(quality.len(), 5);
    for (method, quality) in &quality {
        assert_eq!(
            (quality.n, quality.sampled, quality.k),
            (40, 40, 19),
            "{method}"
        );
        let trust = quality.trustworthiness.unwrap();
        assert!((0.7..=1.0).contains(&trust), "{method}: {trust}");
        assert!((0.5..=1.0).contains(&quality.knn_preservation.unwrap()));
        // 39 neighbours are enough for a perplexity of 13.
        let of_tsne = method.starts_with("tsne");
        assert_eq!(quality.kl.is_some(), of_tsne);
        assert_eq!(quality.perplexity.map(f64::round), of_tsne.then_some(13.0));
    }
    let files = project.files("run");
    let pictures = files
        .keys()
        .filter(|path| path.starts_with("pictures/project/"));
    assert_eq!(pictures.count(), 5 * 3 * 2);
    assert!(files.contains_key("pictures/project/tsne-linfa-by-prediction.svg"));
    assert!(files.contains_key("pictures/project/umap-by-label.png"));
    assert!(files.contains_key("pictures/project/pca-by-correctness.png"));
}

#[test]
fn an_interrupted_stage_resumes_to_the_same_bytes() {
    let project = Project::new(25);
    project.run("run", &[]).unwrap();
    let before = project.files("run");
    for part in 0..3 {
        let lost = format!("run/tables/projection/part-{part:05}.parquet");
        fs::remove_file(project.0.path(&lost)).unwrap();
        let decision = project.decision("run", &[]);
        assert_eq!(
            decision,
            Decision::Resume {
                done: 2,
                total: Some(3),
                lost: 1
            }
        );
        project.run("run", &[]).unwrap();
        assert_eq!(project.files("run"), before, "part {part}");
    }
    assert_eq!(project.decision("run", &[]), Decision::Reuse);
    // Another run folder has the same bytes.
    project.run("other", &[]).unwrap();
    assert_eq!(project.files("other"), before);
    let set = ["project.seed=1", "project.methods=[\"tsne\"]"];
    assert!(matches!(
        project.decision("run", &set),
        Decision::Run { .. }
    ));
}

#[test]
fn only_configured_maps_are_written_but_always_the_components() {
    let project = Project::new(12);
    let summary = project
        .run(
            "run",
            &[
                "project.methods=[\"umap\"]",
                "neighbors.k=3",
                "project.components=2",
            ],
        )
        .unwrap();
    assert_eq!(summary["umap_neighbors"], "exact search");
    assert_eq!(project.pca("run").len(), 2);
    assert!(project.places("run", ByPca).is_empty());
    assert_eq!(project.places("run", Umap).len(), 12);
    assert_eq!(project.quality("run").len(), 1);
    let summary = project.run("run", &["project.methods=[]"]).unwrap();
    assert_eq!(summary["images"], 12);
    assert!(project.quality("run").is_empty());
}

#[test]
fn exact_search_and_table_give_umap_the_same_neighbours() {
    let project = Project::new(30);
    let by_umap = "project.methods=[\"umap\"]";
    project.run("run", &[by_umap, "neighbors.k=14"]).unwrap();
    project.run("other", &[by_umap, "neighbors.k=13"]).unwrap();
    assert_eq!(project.places("run", Umap), project.places("other", Umap));
}

#[test]
fn few_images_and_identical_images_are_mapped() {
    for n in 1..=4 {
        let project = Project::new(n);
        let summary = project.run("run", &[ALL, NO_LABELS]).unwrap();
        assert_eq!(summary["images"], n);
        for method in METHODS {
            let places = project.places("run", method);
            assert_eq!(places.len(), n);
            assert!(
                places
                    .values()
                    .all(|(place, _)| place.iter().all(|x| x.is_finite()))
            );
            if n == 1 {
                assert_eq!(places[&0].0, [0.0; 3], "{}", method.name());
            }
        }
    }
    let project = Project::new(0);
    for number in 0..9 {
        project.add("photos", number, &picture(1));
    }
    let summary = project.run("run", &[ALL, NO_LABELS]).unwrap();
    assert_eq!(
        (&summary["images"], &summary["components"]),
        (&json!(9), &json!(0))
    );
    for method in METHODS {
        let places = project.places("run", method);
        assert!(
            places.values().all(|(place, _)| *place == [0.0; 3]),
            "{}",
            method.name()
        );
    }
}

#[test]
fn images_without_labels_are_coloured_only_by_prediction() {
    let project = Project::new(6);
    project
        .run("run", &[NO_LABELS, "project.methods=[\"pca\"]"])
        .unwrap();
    let files = project.files("run");
    let pictures: Vec<&String> = files
        .keys()
        .filter(|path| path.starts_with("pictures/"))
        .collect();
    let expected = ["png", "svg"].map(|kind| format!("pictures/project/pca-by-prediction.{kind}"));
    assert_eq!(pictures, expected.iter().collect::<Vec<_>>());
}

#[test]
fn labels_unknown_to_the_network_are_neither_right_nor_wrong() {
    let project = Project::new(0);
    for number in 0..6 {
        let path = format!("photos/unheard/{number}.png");
        project.0.write(&path, picture(number));
    }
    project.run("run", &["project.methods=[\"pca\"]"]).unwrap();
    let files = project.files("run");
    assert!(files.contains_key("pictures/project/pca-by-label.png"));
    assert!(!files.contains_key("pictures/project/pca-by-correctness.png"));
}

/// A run of 20 images, and settings that place a folder of the same images, two copies and three new ones into its maps.
fn base_and_new_images() -> (Project, [String; 2]) {
    let project = Project::new(20);
    project.run("first", &[]).unwrap();
    for number in 0..20 {
        project.add("later", number + 10, &picture(number));
    }
    project.add("later", 50, &picture(4));
    project.add("later", 51, &picture(4));
    for number in 40..43 {
        project.add("later", number, &picture(number));
    }
    let set = [
        format!("images.dir={:?}", project.0.path("later")),
        format!("project.onto={:?}", project.0.path("first")),
    ];
    (project, set)
}

#[test]
fn maps_are_reused_and_new_images_placed_into_them() {
    let (project, set) = base_and_new_images();
    let set = [&*set[0], &*set[1]];
    let first = project.files("first");
    let summary = project.run("second", &set).unwrap();
    assert_eq!(
        (&summary["images"], &summary["placed"]),
        (&json!(25), &json!(3))
    );
    assert_eq!(project.files("first"), first);
    assert_eq!(project.pca("second"), project.pca("first"));

    let features = project.features("second");
    let before = project.features("first");
    for method in [ByPca, Tsne, Umap] {
        let (old, new) = (
            project.places("first", method),
            project.places("second", method),
        );
        assert_eq!(new.len(), 25);
        let mut placed = 0;
        for (id, (place, is_placed)) in &new {
            let twin = before.iter().find(|(_, vector)| **vector == features[id]);
            match twin {
                Some((twin, _)) => assert_eq!((*place, false), (old[twin].0, *is_placed)),
                None => {
                    assert!(is_placed);
                    placed += 1;
                    let (low, high) = old
                        .values()
                        .fold((f32::MAX, f32::MIN), |(low, high), ([x, ..], _)| {
                            (low.min(*x), high.max(*x))
                        });
                    let room = if method == ByPca { high - low } else { 0.0 };
                    assert!((low - room..=high + room).contains(&place[0]));
                }
            }
            if method == ByPca {
                assert_eq!(
                    place[..],
                    project.pca("first").transform(&features[id])[..3]
                );
            }
        }
        assert_eq!(placed, 3, "{}", method.name());
    }
    let quality = project.quality("second");
    assert!(quality["tsne"].kl.is_none() && quality["tsne"].trustworthiness.is_some());

    // A third run onto the second: placed images keep their mark.
    let onto = format!("project.onto={:?}", project.0.path("second"));
    project.run("third", &[set[0], &onto]).unwrap();
    assert_eq!(
        project.places("third", Tsne),
        project.places("second", Tsne)
    );
    // Interrupted and resumed.
    let third = project.files("third");
    let lost = "third/tables/projection/part-00002.parquet";
    fs::remove_file(project.0.path(lost)).unwrap();
    project.run("third", &[set[0], &onto]).unwrap();
    assert_eq!(project.files("third"), third);
}

#[test]
fn a_changed_base_map_runs_the_stage_again() {
    let (project, set) = base_and_new_images();
    let set = [&*set[0], &*set[1]];
    project.run("second", &set).unwrap();
    assert_eq!(project.decision("second", &set), Decision::Reuse);
    project.run("first", &["project.seed=7"]).unwrap();
    match project.decision("second", &set) {
        Decision::Run { reason } => assert!(reason.contains("project.onto"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn maps_of_another_feature_space_are_rejected() {
    let (project, set) = base_and_new_images();
    let error = |more: &[&str]| {
        let set: Vec<&str> = set
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        project.run("second", &set).unwrap_err().to_string()
    };
    let message = error(&[&format!("model.path={:?}", golden("residual.pt2"))]);
    assert!(
        message.contains("the network (here ") && message.contains("the feature layer"),
        "{message}"
    );
    let message = error(&["extract.feature_layer=\"features.4\""]);
    assert!(
        message.contains("the feature layer (here features.4, there "),
        "{message}"
    );
    let message = error(&["project.methods=[\"pca\", \"pca-linfa\"]"]);
    assert!(
        message.contains("no map by pca-linfa; it has pca, tsne, umap"),
        "{message}"
    );
    let onto = |name: &str| format!("project.onto={:?}", project.0.path(name));
    let message = error(&[&onto("second")]);
    assert!(message.contains("is this run itself"), "{message}");
    let message = error(&[&onto("nowhere")]);
    assert!(message.contains("nowhere"), "{message}");
    fs::create_dir(project.0.path("empty")).unwrap();
    let message = error(&[&onto("empty")]);
    assert!(message.contains("has no finished maps"), "{message}");
}
