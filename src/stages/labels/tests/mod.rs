use arrow::array::Float32Array;
use prospect_engine::{
    progress::Cancel,
    schema::{duplicates, explanations, label_votes},
};
use prospect_findings::Kind;
use prospect_store::{
    RunFolder,
    declare::{Cell, Column, Lists, f16},
};
use prospect_testing::{add_tables, begin_stage, run_stage};

use self::case::{Case, true_class};
use super::*;

mod case;

/// The values of a column.
fn cells<T, V>(run: &RunFolder, column: Column<T>) -> Vec<V>
where
    T: for<'a> Cell<Value<'a> = V>,
{
    (run.rows(&run.manifest().unwrap(), (column,)))
        .flat_map(|batch| {
            let batch = batch.unwrap();
            batch.iter().map(|(cell,)| cell).collect::<Vec<V>>()
        })
        .collect()
}

fn digests(run: &RunFolder) -> Vec<(String, String)> {
    let manifest = run.manifest().unwrap();
    let parts = manifest.stages["labels"].parts.values();
    parts
        .flat_map(|part| &part.files)
        .map(|file| (file.path.clone(), file.blake3.clone()))
        .collect()
}

const WRONG: [(usize, Option<i32>); 3] = [(4, Some(1)), (25, Some(2)), (44, Some(0))];

#[test]
fn wrong_labels_are_found_and_explained() {
    let case = Case::new(&WRONG).with_tables();
    let summary = case.run(&[]);
    let run = case.fake.run();
    let scores = cells(&run, label_scores::score);
    assert_eq!(scores.len(), 60);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let flagged = cells(&run, label_scores::flagged);
    let suggested = cells(&run, label_scores::suggested_label);
    let mut ranks = cells(&run, label_scores::rank);
    for id in 0..60 {
        let is_wrong = WRONG.iter().any(|(wrong, _)| *wrong == id);
        assert_eq!(flagged[id], is_wrong, "image {id}: {}", scores[id]);
        assert_eq!(suggested[id], is_wrong.then_some(true_class(id)));
        assert_eq!(ranks[id] <= 3, is_wrong);
    }
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=60).collect::<Vec<_>>());
    assert_eq!(
        (
            summary["flagged"].clone(),
            summary["confident_joint"].clone()
        ),
        (json!(3), json!(3))
    );
    for column in [confident_joint::estimated, confident_joint::expected] {
        let all: f64 = cells(&run, column).iter().sum();
        assert!((all - 60.0).abs() < 0.5, "{all} images");
    }

    let mut found = case.findings(&["audit.budget=4"]);
    assert_eq!(found.len(), 4);
    found.sort_by(|a, b| a.score.total_cmp(&b.score));
    let worst = found.iter().find(|finding| finding.image_id == 4).unwrap();
    assert!(worst.flagged);
    assert_eq!((worst.kind, worst.suggested_label), (Kind::Label, Some(0)));
    let expected = [
        "labelled shoe; probe says hat 0.",
        "; 5 of 5 neighbours are hat",
    ];
    for piece in expected {
        assert!(worst.evidence.contains(piece), "{}", worst.evidence);
    }
    assert!(!found[3].flagged && found[3].evidence.contains("probe agrees"));
}

#[test]
fn reviewed_labels_are_settled_but_keep_their_scores() {
    let case = Case::new(&WRONG).with_tables();
    case.run(&[]);
    let run = case.fake.run();
    let before = cells(&run, label_scores::score);
    let reviews = "path,kind,verdict,label\n\
        4.png,label,fix,hat\n25.png,label,fix,\n44.png,label,ok,\n50.png,label,fix,sock\n51.png,dark,ok,\n";
    std::fs::write(case.fake.config(&[]).reviews_path(), reviews).unwrap();
    let summary = case.run(&[]);
    let of = |column: Column<bool>| -> Vec<usize> {
        let found: Vec<bool> = cells(&run, column);
        (0..60).filter(|id| found[*id]).collect()
    };
    assert_eq!(of(label_scores::suspicious), [4, 25, 44]);
    // Its right class is still unknown.
    assert_eq!(of(label_scores::flagged), [25]);
    assert_eq!(summary["flagged"], json!(1));
    let scores = cells(&run, label_scores::score);
    assert!((0..60).all(|id| (scores[id] < 0.5) == (before[id] < 0.5)));
    let labels = cells(&run, label_scores::reviewed_label);
    assert_eq!(
        [labels[4], labels[25], labels[44], labels[50], labels[51]],
        [Some(0), None, Some(0), None, None]
    );
    // Neighbours vote with their right labels: image 44, a bag, is decided to be a hat.
    let agreement: Vec<f32> = cells(&run, label_scores::knn_agreement);
    assert!(agreement[40..60].iter().any(|agreement| *agreement < 1.0));
    assert_eq!(agreement[20..40].iter().filter(|a| **a == 1.0).count(), 19);
}

#[test]
fn reviews_count_before_the_next_run() {
    let case = Case::new(&WRONG).with_tables();
    case.run(&[]);
    let ranking = || {
        case.fake.read(&[], |ctx, manifest| {
            reviews::Ranking::read(ctx.config, ctx.run, manifest).unwrap()
        })
    };
    let before = ranking();
    assert_eq!(before.estimate(), None);
    let mut asked: Vec<u32> = (before.next(3).iter())
        .map(|(place, _)| before.image_ids[*place])
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [4, 25, 44]);
    let reviews = "path,kind,verdict,sampled\n4.png,label,fix,yes\n25.png,label,fix,yes\n44.png,label,ok,yes\n";
    std::fs::write(case.fake.config(&[]).reviews_path(), reviews).unwrap();
    let estimate = ranking().estimate().unwrap();
    assert_eq!(
        reviews::precision(&estimate).unwrap(),
        "2 of the 3 suspicious labels are wrong; all are reviewed"
    );
    assert!(reviews::further(&estimate).starts_with("a further 50 reviews are expected to find "));
    // Two of the three.
    let reviews = reviews.replace("44.png,label,ok,yes\n", "");
    std::fs::write(case.fake.config(&[]).reviews_path(), reviews).unwrap();
    let sentence = reviews::precision(&ranking().estimate().unwrap()).unwrap();
    assert_eq!(
        sentence,
        "66 to 100 % of the 3 suspicious labels are wrong (95 % interval, 2 of them reviewed)"
    );
}

#[test]
fn injected_errors_calibrate_reviews() {
    let case = Case::new(&WRONG).with_tables();
    let summary = case.run(&["audit.budget=3"]);
    let run = case.fake.run();
    let reviewed: Vec<i32> = cells(&run, label_calibration::reviewed);
    assert_eq!(reviewed[..2], [3, 10]);
    let planted = cells(&run, label_calibration::planted);
    assert!(planted.iter().all(|planted| *planted == 6), "{planted:?}");
    let recall: Vec<f32> = cells(&run, label_calibration::recall);
    for (noise, recall) in Noise::ALL
        .into_iter()
        .zip(recall.chunks(reviewed.len() / KINDS))
    {
        assert!(recall.is_sorted(), "{noise}: {recall:?}");
        assert!(recall[1] > 0.6, "{noise}: {recall:?}");
    }
    let review = summary["review"].as_str().unwrap();
    assert!(
        review.starts_with("a review of the worst 3 finds "),
        "{review}"
    );

    // Without injected errors, no review is measured.
    let summary = case.run(&["audit.planted=0"]);
    assert!(cells(&run, label_calibration::planted).is_empty());
    assert_eq!(summary["review"], Value::Null);
}

#[test]
fn a_label_that_annotators_dispute_is_ambiguous() {
    let case = Case::new(&WRONG).with_tables();
    // Images 4 and 25 are labelled wrongly.
    let batch = label_votes::Columns {
        image_id: vec![4, 25].into(),
        votes: vec![5.0, 5.0].into(),
        majority: vec!["shoe", "bag"].into(),
        majority_share: vec![0.6, 0.8].into(),
        agreement: vec![Some(0.6), Some(0.8)].into(),
        entropy: vec![1.0, 0.7].into(),
    };
    let tables = [(label_votes::NAME, batch.batch().unwrap())];
    add_tables(&case.fake.run(), "votes", &tables);
    case.run(&[]);
    for finding in case.findings(&[]) {
        match finding.image_id {
            4 => {
                assert_eq!(finding.kind, Kind::Ambiguous);
                let expected = "labelled shoe by 60 % of the votes; ";
                assert!(
                    finding.evidence.starts_with(expected),
                    "{}",
                    finding.evidence
                );
            }
            25 | 44 => assert_eq!(finding.kind, Kind::Label),
            _ => assert!(!finding.flagged),
        }
    }
}

#[test]
fn copies_have_one_vote() {
    let case = Case::new(&WRONG).with_tables();
    // Each cluster of 20 is four groups of five copies.
    let pairs: Vec<u32> = (0..60).filter(|id| id % 5 > 0).collect();
    let n = pairs.len();
    let batch = duplicates::Columns {
        image_a: pairs.iter().map(|id| id / 5 * 5).collect(),
        image_b: pairs.clone().into(),
        kind: vec!["near"; n].into(),
        phash_distance: vec![0; n].into(),
        feature_distance: Float32Array::new_null(n),
        similarity: vec![1.0; n].into(),
        group_id: pairs.iter().map(|id| id / 5 * 5).collect(),
        label_conflict: vec![false; n].into(),
        cross_split: vec![false; n].into(),
    };
    let tables = [(duplicates::NAME, batch.batch().unwrap())];
    add_tables(&case.fake.run(), "duplicates", &tables);
    case.run(&[]);
    let found = case.findings(&[]);
    for finding in found.iter().filter(|finding| finding.flagged) {
        let votes = finding.evidence.split("; ").nth(2).unwrap();
        let of: u32 = votes.split(' ').nth(2).unwrap().parse().unwrap();
        assert!(of <= 3, "{}", finding.evidence);
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_tables() {
    let case = Case::new(&WRONG).with_tables();
    case.run(&[]);
    let all = digests(&case.fake.run());
    // Only the tables of part 0.
    let interrupted = Case::new(&WRONG).with_tables();
    let (run, other) = (case.fake.run(), interrupted.fake.run());
    interrupted.fake.with(&[], |ctx| {
        let lock = ctx.run.lock("test").unwrap();
        let writer = begin_stage(ctx, &lock, &STAGE).unwrap();
        let mut part = writer.part(0).unwrap();
        for name in [label_scores::NAME, confident_joint::NAME] {
            for batch in run.read(&run.manifest().unwrap(), name) {
                part.write(name, &batch.unwrap()).unwrap();
            }
        }
        writer.commit(part).unwrap();
    });
    interrupted.run(&[]);
    assert_eq!(digests(&other), all);
}

#[test]
fn cancellation_stops_the_stage() {
    let case = Case::new(&WRONG).with_tables();
    let cancel = Cancel::default();
    cancel.request();
    let project = &case.fake.project;
    let stopped = project.with_cancel("run", &[], &cancel, |ctx| run_stage(ctx, &STAGE));
    assert!(matches!(stopped, Err(prospect_common::Error::Interrupted)));
}

#[test]
fn probabilities_of_the_network_come_with_a_caveat() {
    let case = Case {
        source: "network",
        ..Case::new(&WRONG)
    }
    .with_tables();
    let summary = case.run(&[]);
    assert_eq!(summary["flagged"], 3);
    assert!(summary["caveat"].as_str().unwrap().contains("memorised"));
    assert_eq!(summary["review"], Value::Null);
    let found = case.findings(&[]);
    assert!(
        found
            .iter()
            .any(|finding| finding.evidence.contains("network says"))
    );
}

#[test]
fn memorised_errors_are_found_in_earlier_layers() {
    let wrong = [4, 17, 45, 66, 90, 101].map(|id| (id, Some((id as i32 / 40 + 1) % 3)));
    let case = Case::sized(40, &wrong).memorised().with_tables();
    let summary = case.run(&[]);
    assert_eq!(summary["layers"], json!(["early"]));
    let caveat = summary["caveat"].as_str().unwrap();
    assert!(caveat.contains("100.0 % of the labels: "), "{caveat}");
    assert!(caveat.contains("(early)"), "{caveat}");
    assert_eq!(summary["review"], Value::Null, "nothing is promised");
    let ranks = cells(&case.fake.run(), label_scores::rank);
    for (id, rank) in ranks.into_iter().enumerate() {
        let is_wrong = wrong.iter().any(|(wrong, _)| *wrong == id);
        assert_eq!(rank <= 6, is_wrong, "image {id} is at {rank}");
    }
    let found = case.findings(&["audit.budget=6"]);
    assert_eq!(found.len(), 6);
    for finding in found {
        let evidence = &finding.evidence;
        let suggests = evidence.contains("; earlier layers say ");
        assert_eq!(suggests, finding.suggested_label.is_some(), "{evidence}");
        assert!(!evidence.contains("probe") && !evidence.contains("neighbours"));
    }
}

#[test]
fn labels_without_relation_to_the_images_are_not_flagged() {
    let labels: Vec<(usize, Option<i32>)> = (0..60)
        .map(|id| (id, Some((true_class(id) + 1 + (id % 2) as i32) % 3)))
        .collect();
    let case = Case::new(&labels).with_tables();
    let summary = case.run(&[]);
    assert_eq!(
        (&summary["flagged"], &summary["ambiguous"]),
        (&json!(0), &json!(0))
    );
    let caveat = summary["caveat"].as_str().unwrap();
    assert!(caveat.contains("contradict most labels"), "{caveat}");
    assert_eq!(summary["review"], Value::Null);
}

#[test]
fn labels_that_cannot_be_evaluated_have_no_row() {
    // Image 0 has no label, image 1 alone is of class 3.
    let case = Case::new(&[(0, None), (1, Some(3)), (25, Some(2))]).with_tables();
    let summary = case.run(&[]);
    assert_eq!(
        (
            summary["evaluated_images"].clone(),
            summary["not_evaluated"].clone()
        ),
        (json!(58), json!(2))
    );
    let ids = cells(&case.fake.run(), label_scores::image_id);
    assert_eq!(ids[0], 2);
    let ranks = cells(&case.fake.run(), label_scores::rank);
    assert_eq!(ranks[25 - 2], 1, "the only wrong label ranks worst");

    let all = |label: Option<i32>| (0..60).map(|id| (id, label)).collect::<Vec<_>>();
    for labels in [all(None), all(Some(1))] {
        let case = Case::new(&labels).with_tables();
        let summary = case.run(&[]);
        let run = case.fake.run();
        assert_eq!(summary["evaluated_images"], 0);
        let manifest = run.manifest().unwrap();
        for table in STAGE.writes {
            assert!(manifest.has(table.name));
            assert_eq!(run.read(&manifest, table.name).rows(), 0);
        }
        assert!(case.findings(&[]).is_empty());
    }
}

#[test]
fn maps_of_both_classes_are_compared() {
    let case = Case::new(&WRONG).with_tables();
    // The network's classes are bag 0, hat 1, shoe 2; image 4 is a hat labelled shoe.
    let maps = [1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0];
    let numbers = || Float32Array::from(vec![0.0; 2]);
    let batch = explanations::Columns {
        image_id: vec![4, 4].into(),
        layer: vec!["last"; 2].into(),
        method: vec!["gradcam"; 2].into(),
        class: vec![1, 2].into(),
        class_kind: vec!["fixed"; 2].into(),
        height: vec![2; 2].into(),
        width: vec![2; 2].into(),
        map: Lists::new(maps.map(f16::from_f32).to_vec(), 4),
        map_scale: numbers(),
        raw_min: numbers(),
        raw_max: numbers(),
        positive_sum: numbers(),
        zero_map: vec![false; 2].into(),
        center_y: numbers(),
        center_x: numbers(),
        border_fraction: numbers(),
        entropy: numbers(),
        logit: numbers(),
        residual: numbers(),
        energy_in_box: numbers(),
        pointing_hit: vec![false; 2].into(),
    };
    let tables = [(explanations::NAME, batch.batch().unwrap())];
    add_tables(&case.fake.run(), "explain", &tables);
    case.run(&[]);
    for finding in case.findings(&[]) {
        let has_overlap = finding
            .evidence
            .ends_with("; Grad-CAM for the two classes overlaps 0.50");
        assert_eq!(has_overlap, finding.image_id == 4, "{}", finding.evidence);
    }
}
