use std::{collections::BTreeMap, fs};

use prospect_engine::schema::{self, features};
use prospect_output::picture::Picture;
use prospect_stages::neighbors;
use prospect_store::declare::Lists;
use prospect_testing::{Fake, FakeImage, add_tables, golden, replace_tables};
use serde_json::json;

use super::*;

/// Path, label, features and prediction.
type ImageRow = (&'static str, Option<&'static str>, [f32; 2], i32);

/// Image 2 is unreadable, image 7 not extracted.
const IMAGES: [ImageRow; 8] = [
    ("a/0.png", Some("a"), [0.0, 0.0], 0),
    ("a/1.png", Some("a"), [0.0, 0.0], 1),
    ("a/bad.png", Some("a"), [0.0, 0.0], 0),
    ("b/3.png", Some("b"), [1.0, 0.0], 0),
    ("b/4.png", Some("b"), [0.0, 2.0], 1),
    ("5.png", None, [0.0, 0.0], 0),
    ("b/6.png", Some("b"), [f32::NAN, 0.0], 0),
    ("b/7.png", Some("b"), [9.0, 9.0], 0),
];

fn fake() -> Fake {
    let image = |(id, (path, label, _, _)): (usize, &ImageRow)| FakeImage {
        path: path.to_string(),
        label: label.map(|name| (i32::from(name == "b"), name.to_string())),
        error: path.contains("bad").then(|| "truncated jpeg".to_string()),
        picture: Some(Picture::filled(6 + id as u32, 4, [20 * id as u8, 90, 200])),
    };
    let fake = Fake {
        images: IMAGES.iter().enumerate().map(image).collect(),
        network_classes: vec!["lynx".into()],
        predictions: [0, 1, 3, 4, 5, 6, 7]
            .map(|id| (IMAGES[id].3, None))
            .to_vec(),
        ..Fake::default()
    };
    fake.write();
    let extracted = [0, 1, 3, 4, 5, 6];
    let values = extracted.iter().flat_map(|&id| IMAGES[id].2).collect();
    let rows = features::Columns {
        image_id: extracted.iter().map(|&id| id as u32).collect(),
        vector: Lists::new(values, 2),
    };
    let tables = [(features::NAME, rows.batch().unwrap())];
    add_tables(&fake.run(), "extract", &tables);
    fake
}

fn ask(fake: &Fake, images: &[&str], k: usize, exact: bool) -> Similar {
    let method = if exact {
        SearchMethod::Exact
    } else {
        SearchMethod::Auto
    };
    ask_by(fake, images, k, method).unwrap()
}

fn ask_by(fake: &Fake, images: &[&str], k: usize, method: SearchMethod) -> Result<Similar> {
    let images: Vec<String> = images.iter().map(|image| image.to_string()).collect();
    let request = Request {
        images: &images,
        k,
        method,
    };
    fake.with(&["neighbors.metric='l2'"], |ctx| similar(ctx, &request))
}

fn near(answer: &Answer) -> Vec<(u32, f32)> {
    let hits = answer.neighbors.iter();
    hits.map(|hit| (hit.image.image_id.unwrap(), hit.distance))
        .collect()
}

fn refusals(similar: &Similar) -> Vec<(&str, &str)> {
    let refused = similar.refused.iter();
    refused
        .map(|refused| (refused.image.as_str(), refused.reason.as_str()))
        .collect()
}

#[test]
fn duplicates_are_neighbours_but_the_query_is_not() {
    let fake = fake();
    let found = ask(&fake, &["a/1.png", "#0"], 10, false);
    assert_eq!(refusals(&found), []);
    assert_eq!(found.metric, Metric::L2);
    let [first, second] = found.answers.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(near(first), [(0, 0.0), (5, 0.0), (3, 1.0), (4, 2.0)]);
    assert_eq!(near(second), [(1, 0.0), (5, 0.0), (3, 1.0), (4, 2.0)]);
    assert_eq!(first.method, Method::ExactSearch);
    assert!(first.neighbors.iter().all(|hit| hit.exact));
    let ranks: Vec<usize> = first.neighbors.iter().map(|hit| hit.rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4]);
    // Image 5 has no label, and the network does not name its second class.
    assert_eq!(first.same_label, Some(Share { n: 1, of: 3 }));
    assert_eq!(first.same_prediction, Some(Share { n: 1, of: 4 }));
    assert_eq!(first.query.predicted.as_deref(), Some("class 1"));
    let hit = &second.neighbors[2].image;
    assert_eq!(
        (
            hit.path.as_str(),
            hit.label.as_deref(),
            hit.predicted.as_deref()
        ),
        ("b/3.png", Some("b"), Some("lynx"))
    );
    assert_eq!(
        near(&ask(&fake, &["5.png"], 1, false).answers[0]),
        [(0, 0.0)]
    );
    assert_eq!(ask(&fake, &["5.png"], 3, false).answers[0].same_label, None);
}

#[test]
fn images_are_resolved_by_path_id_or_file() {
    let fake = fake();
    let file = fake.image_dir().join("b/4.png");
    let found = ask(&fake, &["b/4.png", "#4", file.to_str().unwrap()], 2, false);
    assert_eq!(refusals(&found), []);
    for answer in &found.answers {
        assert_eq!(answer.query.image_id, Some(4));
        assert_eq!(answer.query.path, "b/4.png");
        assert_eq!(near(answer), [(0, 2.0), (1, 2.0)]);
    }
    // Deleted from disk, but still in the run.
    fs::remove_file(&file).unwrap();
    let found = ask(&fake, &[file.to_str().unwrap()], 2, false);
    assert_eq!(found.answers[0].query.image_id, Some(4));
}

#[test]
fn failed_queries_are_reported_and_the_others_answered() {
    let fake = fake();
    let names = [
        "a/bad.png",
        "b/3.png",
        "#99",
        "b",
        "none.png",
        "b/6.png",
        "#7",
        "#x",
    ];
    let folder = fake.image_dir().join("b");
    let names = names.map(|name| match name {
        "b" => folder.to_str().unwrap(),
        name => name,
    });
    let found = ask(&fake, &names, 1, false);
    assert_eq!(found.answers.len(), 1);
    assert_eq!(near(&found.answers[0]), [(0, 1.0)]);
    let refused: BTreeMap<&str, &str> = refusals(&found).into_iter().collect();
    assert_eq!(refused.len(), 7);
    for (image, reason) in [
        ("a/bad.png", "truncated jpeg"),
        ("#99", "no image with this id"),
        (folder.to_str().unwrap(), "a folder"),
        ("none.png", "neither a path in the run"),
        ("b/6.png", "not finite"),
        ("b/7.png", "not extracted yet"),
        ("#x", "neither a path in the run"),
    ] {
        assert!(
            refused[image].contains(reason),
            "{image}: {}",
            refused[image]
        );
    }
}

/// Stores neighbours of image 0 that no search would find.
fn write_graph(fake: &Fake, metric: &str) {
    let rows = schema::neighbors::Columns {
        image_id: vec![0, 0].into(),
        rank: vec![2, 1].into(),
        neighbor_id: vec![3, 4].into(),
        distance: vec![0.75, 0.5].into(),
        exact: vec![false, true].into(),
    };
    let parameters = json!({"k": 2, "metric": metric});
    let tables = [(schema::neighbors::NAME, rows.batch().unwrap())];
    replace_tables(&fake.run(), "neighbors", parameters, &tables);
}

#[test]
fn the_stored_graph_is_used_up_to_its_k() {
    let fake = fake();
    write_graph(&fake, "l2");
    let answer = |k, exact| ask(&fake, &["#0"], k, exact).answers.remove(0);
    let stored = answer(2, false);
    assert_eq!(stored.method, Method::StoredGraph);
    assert_eq!(near(&stored), [(4, 0.5), (3, 0.75)]);
    let exact: Vec<bool> = stored.neighbors.iter().map(|hit| hit.exact).collect();
    assert_eq!(exact, [true, false]);
    assert_eq!(near(&answer(1, false)), [(4, 0.5)]);
    for searched in [answer(3, false), answer(2, true)] {
        assert_eq!(searched.method, Method::ExactSearch);
        assert_eq!(near(&searched)[..2], [(1, 0.0), (5, 0.0)]);
    }
    // An image that is not in the graph is searched for.
    assert_eq!(
        ask(&fake, &["#3"], 1, false).answers[0].method,
        Method::ExactSearch
    );
}

#[test]
fn metric_is_that_of_the_run() {
    let fake = fake();
    write_graph(&fake, "cosine");
    let found = ask(&fake, &["b/3.png"], 4, false);
    assert_eq!(found.metric, Metric::Cosine);
    // The cosine distance of orthogonal vectors, and of zero vectors, is 1.
    let answer = near(&found.answers[0]);
    assert_eq!(answer, [(0, 1.0), (1, 1.0), (4, 1.0), (5, 1.0)]);
}

#[test]
fn index_is_searched_if_the_run_has_one() {
    let fake = fake();
    let by_index = |k| ask_by(&fake, &["#1"], k, SearchMethod::Hnsw);
    let error = by_index(4).unwrap_err().to_string();
    assert!(error.contains("neighbors.method=hnsw"), "{error}");
    let set = [
        "neighbors.method='hnsw'",
        "neighbors.metric='l2'",
        "neighbors.k=1",
    ];
    fake.run_stage(&neighbors::STAGE, &set).unwrap();
    let answer = |k, exact| ask(&fake, &["#1"], k, exact).answers.remove(0);
    assert_eq!(answer(1, false).method, Method::StoredGraph);
    let searched = by_index(4).unwrap().answers.remove(0);
    assert_eq!(searched.method, Method::Index);
    assert!(searched.neighbors.iter().all(|hit| !hit.exact));
    assert_eq!(near(&searched), near(&answer(4, true)));
    assert_eq!(by_index(1).unwrap().answers[0].method, Method::Index);
    // With few queries and images, exact search is faster.
    assert_eq!(answer(4, false).method, Method::ExactSearch);
}

#[test]
fn only_files_outside_the_run_need_a_model() {
    let fake = fake();
    let file = fake.project.path("new.png");
    fs::copy(fake.image_dir().join("b/4.png"), &file).unwrap();
    let images = vec!["#0".to_string(), file.display().to_string()];
    let request = Request {
        images: &images,
        k: 2,
        method: SearchMethod::Auto,
    };
    let error = fake.with(&[], |ctx| similar(ctx, &request).unwrap_err());
    let message = error.to_string();
    assert!(
        message.contains("new.png is outside the run") && message.contains("[model] path"),
        "{message}"
    );
    let set = [format!("model.path={:?}", golden("plain.pt2"))];
    let set = set.each_ref().map(String::as_str);
    let error = fake.with(&set, |ctx| similar(ctx, &request).unwrap_err());
    let message = error.to_string();
    assert!(message.contains("computed the run's features"), "{message}");
}

#[test]
fn missing_or_outdated_features_are_an_error() {
    let mut manifest = Manifest::default();
    let stage = |key: &str| StageRecord {
        key: key.into(),
        ..StageRecord::default()
    };
    let extract = StageRecord {
        needs: BTreeMap::from([("scan".to_string(), "old".to_string())]),
        ..stage("extract")
    };
    assert!(!is_current(&manifest, &extract));
    manifest.stages.insert("scan".into(), stage("new"));
    assert!(!is_current(&manifest, &extract));
    manifest.stages.insert("scan".into(), stage("old"));
    assert!(is_current(&manifest, &extract));

    let empty = Fake {
        part_size: 1,
        ..Fake::default()
    };
    empty.write();
    let images = ["#0".to_string()];
    let request = Request {
        images: &images,
        k: 1,
        method: SearchMethod::Auto,
    };
    let error = empty.with(&[], |ctx| similar(ctx, &request).unwrap_err());
    assert!(
        error.to_string().contains("prospect run extract"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn sheets_leave_out_changed_and_missing_files() {
    let fake = fake();
    // Image 3 changed after the scan, image 5 was deleted.
    fs::write(fake.image_dir().join("b/3.png"), "other").unwrap();
    fs::remove_file(fake.image_dir().join("5.png")).unwrap();
    let found = ask(&fake, &["#0", "#5"], 4, false);
    let draw = |found: &Similar| {
        let mut sheets = Vec::new();
        fake.with(&[], |ctx| {
            draw_sheets(ctx, found, |at, png| {
                assert_eq!(at, sheets.len());
                sheets.push(image::load_from_memory(png).unwrap().to_rgb8());
                Ok(())
            })
            .unwrap();
        });
        sheets
    };
    let sheets = draw(&found);
    assert_eq!(sheets.len(), 1);
    // Image 4's colour, but not image 3's.
    let pixels: Vec<[u8; 3]> = sheets[0].pixels().map(|pixel| pixel.0).collect();
    assert!(pixels.contains(&[80, 90, 200]) && !pixels.contains(&[60, 90, 200]));
    assert_eq!(draw(&found), sheets);

    let many = vec!["#0"; 60];
    let sheets = draw(&ask(&fake, &many, 4, false));
    assert!(sheets.len() > 1, "{}", sheets.len());
    assert!(draw(&ask(&fake, &["#99"], 4, false)).is_empty());
}
