//! A synthetic run of twelve images in which every query has results; the tables are written as text.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int16Array,
        Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
    },
    datatypes::{DataType, Field, Schema},
};
use prospect::store::RunFolder;
use prospect_testing::add_tables;

/// Stage, table, columns (`name:type`, `?` if nullable), and one row per line; `-` is null.
const TABLES: &[(&str, &str, &str, &str)] = &[
    (
        "scan",
        "images",
        "image_id:u32 path:str digest:str? width:i32? height:i32? orientation:i16? label:i32? label_name:str? split:str? error:str? \
         brightness:f32? contrast:f32? sharpness:f32? entropy:f32? phash:u64? saturation:f32? season:str? flash:bool? year:i64?",
        "0  cats/0.jpg a0 64 64 1 0 cat  train - 0.5 0.2 90 7 1 0.5 winter true  2020
         1  cats/1.jpg a1 64 64 1 0 cat  train - 0.5 0.2 90 7 2 0.5 winter true  2021
         2  cats/2.jpg a0 64 64 1 0 cat  test  - 0.5 0.2 90 7 1 0.5 winter false 2022
         3  cats/3.jpg a3 64 64 1 0 cat  train - 0.5 0.2 90 7 4 0.5 summer -     2023
         4  cats/4.jpg a4 64 64 1 0 cat  train - 0.0 0.0 0  0 5 0.0 -      false 2020
         5  dogs/5.jpg a5 64 64 1 1 dog  train - 0.5 0.2 90 7 6 0.5 summer true  2020
         6  dogs/6.jpg a6 64 64 1 1 dog  train - 0.5 0.2 90 7 7 0.5 summer true  2020
         7  dogs/7.jpg a7 64 64 1 1 dog  train - 0.5 0.2 90 7 2 0.5 summer true  2020
         8  dogs/8.jpg a8 64 64 1 1 dog  test  - 0.5 0.2 90 7 9 0.5 summer true  2020
         9  more/9.jpg a9 64 64 1 - -    -     - 0.5 0.2 90 7 8 0.5 summer true  2020
         10 dogs/x.jpg aa -  -  - 1 dog  train truncated_JPEG - - - - - - summer true 2020
         11 odd's/1.jpg ab 64 64 1 2 odd's train - 0.5 0.2 90 7 3 0.5 summer true 2020",
    ),
    (
        "scan",
        "classes",
        "class:i32 name:str source:str",
        "0 cat dataset
         1 dog dataset
         2 odd's dataset
         0 cat model
         1 dog model",
    ),
    (
        "extract",
        "predictions",
        "image_id:u32 pred:i32 p_pred:f32 p_label:f32? margin:f32 entropy:f32 loss:f32? logits:f32[2]",
        "0 0 0.9 0.9 0.8 0.1 0.1 2,0
         1 0 0.9 0.9 0.8 0.1 0.1 2,0
         2 0 0.9 0.9 0.8 0.1 0.1 2,0
         3 0 0.95 0.95 0.9 0.1 0.1 2,0
         4 0 0.6 0.6 0.2 0.1 0.5 2,0
         5 1 0.9 0.9 0.8 0.1 0.1 0,2
         6 1 0.9 0.9 0.8 0.1 0.1 0,2
         7 1 0.9 0.9 0.8 0.1 0.1 0,2
         8 1 0.9 0.9 0.8 0.1 0.1 0,2
         9 1 0.9 -   0.8 0.1 -   0,2
         11 0 0.6 -  0.2 0.1 -   2,0",
    ),
    (
        "neighbors",
        "neighbors",
        "image_id:u32 rank:i16 neighbor_id:u32 distance:f32 exact:bool",
        "0 1 2 0 true
         0 2 1 0.5 true
         1 1 7 0.25 true
         1 2 0 0.5 true
         2 1 0 0 true
         2 2 1 0.5 true
         3 1 5 0.5 true
         3 2 6 0.75 true
         4 1 0 0.5 true
         4 2 9 1 false
         5 1 6 0.5 true
         5 2 3 0.5 true
         6 1 5 0.5 true
         6 2 8 0.75 true
         7 1 1 0.25 true
         7 2 0 0.5 true
         8 1 6 0.5 true
         8 2 5 0.75 true
         9 1 8 1 true
         9 2 6 1 true
         11 1 4 2 true
         11 2 0 2 true",
    ),
    (
        "neighbors",
        "neighbor_stats",
        "image_id:u32 in_degree:u32 mean_distance:f32 label_agreement:f32?",
        "0 5 0.25 1
         1 3 0.375 0.5
         2 1 0.25 1
         3 1 0.625 0
         4 1 0.75 1
         5 3 0.5 0.5
         6 4 0.625 1
         7 1 0.375 0
         8 2 0.625 1
         9 1 1 -
         11 0 2 0",
    ),
    (
        "neighbors",
        "class_neighbors",
        "class:i32 name:str images:u32 label_agreement:f32? in_degree_mean:f32 in_degree_max:u32 in_degree_skewness:f32? antihubs:u32",
        "0 cat 5 0.75 2.25 5 0.5 0
         1 dog 4 0.5 2.5 4 0.25 0
         2 odd's 1 - 0 0 - 1",
    ),
    (
        "confusion",
        "class_overlap",
        "class_a:i32 name_a:str class_b:i32 name_b:str share:f32 edges:u32",
        "0 cat 0 cat 0.75 6
         0 cat 1 dog 0.25 3
         1 dog 0 cat 0.375 3
         1 dog 1 dog 0.625 5
         2 odd's 0 cat 1 2",
    ),
    (
        "patches",
        "unit_stats",
        "layer:str unit:i32 images:u32 mean:f32? std:f32? min:f32? max:f32? share_active:f32? dead:bool selectivity:f32? measure:str \
         top_class:i32?",
        "layer4 0 11 1 1 0 4 0.5 false 0.75 class_selectivity 0
         layer4 1 11 1 1 0 4 0.5 false 0.25 class_selectivity 1
         layer4 2 11 0 0 0 0 0   true  0    class_selectivity -",
    ),
    (
        "patches",
        "patches",
        "layer:str unit:i32 rank:i16 image_id:u32 value:f32 row:i16 col:i16",
        "layer4 0 1 2 4 0 0
         layer4 0 2 0 3 0 0
         layer4 0 3 1 2 0 0
         layer4 1 1 5 4 0 0
         layer4 1 2 3 3 0 0
         layer4 1 3 0 2 0 0
         layer4 2 1 0 0 0 0
         layer4 2 2 1 0 0 0
         layer4 2 3 2 0 0 0",
    ),
    (
        "explain",
        "explanations",
        "image_id:u32 layer:str method:str class:i32 class_kind:str zero_map:bool border_fraction:f32? energy_in_box:f32? \
         pointing_hit:bool?",
        "0 layer4 gradcam 0 predicted false 0.75 0.25 false
         0 layer4 gradcam 0 label     false 0.75 0.25 false
         1 layer4 gradcam 0 predicted false 0.25 0.75 true
         1 layer4 gradcam 0 label     false 0.25 0.75 true
         5 layer4 gradcam 1 predicted false 0.5  - -
         5 layer4 gradcam 1 label     false 0.5  - -
         6 layer4 gradcam 1 predicted true  -    - -
         6 layer4 gradcam 1 label     true  -    - -
         3 layer4 gradcam 1 label     false 1    0 false
         0 layer4 cam     0 label     false 1    0 false",
    ),
    (
        "duplicates",
        "duplicates",
        "image_a:u32 image_b:u32 kind:str phash_distance:i16? feature_distance:f32? similarity:f32? group_id:u32 label_conflict:bool \
         cross_split:bool",
        "0 2 exact 0 0    1    0 false true
         1 7 near  3 0.25 0.875 1 true false",
    ),
    (
        "probe",
        "probe",
        "image_id:u32 source:str fold:i16? label:i32? pred:i32 p_label:f32? p_pred:f32 calibrated:f32? margin:f32 entropy:f32 \
         probabilities:f32[3]",
        "0 probe 0 0 0 0.75 0.75 0.5 0.5 0.5 0.75,0.25,0
         1 probe 1 0 1 0.25 0.75 0.5 -0.5 0.5 0.25,0.75,0
         2 probe 0 0 0 0.75 0.75 0.5 0.5 0.5 0.75,0.25,0
         3 probe 2 0 1 0.0625 0.9375 0.625 -0.875 0.1 0.0625,0.9375,0
         4 probe 3 0 0 0.5 0.5 0.5 0.25 0.9 0.5,0.25,0.25
         5 probe 4 1 1 0.9375 0.9375 0.625 0.875 0.1 0.0625,0.9375,0
         6 probe 0 1 1 0.9375 0.9375 0.625 0.875 0.1 0.0625,0.9375,0
         7 probe 1 1 0 0.25 0.75 0.5 -0.5 0.5 0.75,0.25,0
         8 probe 2 1 1 0.9375 0.9375 0.625 0.875 0.1 0.0625,0.9375,0
         9 probe - - 1 - 0.9375 0.625 0.875 0.1 0.0625,0.9375,0
         11 probe 3 2 0 0 1 0.625 -1 0 1,0,0",
    ),
    (
        "probe",
        "probe_classes",
        "position:i32 class:i32 name:str images:u32",
        "0 0 cat 5
         1 1 dog 4
         2 2 odd's 1",
    ),
    (
        "labels",
        "label_scores",
        "image_id:u32 label:i32 suggested_label:i32? self_confidence:f32 normalized_margin:f32 knn_agreement:f32? confident_joint:bool \
         score:f32 flagged:bool rank:i32",
        "0 0 - 0.75 0.75 1 false 0.875 false 8
         1 0 1 0.25 0.25 0.5 false 0.5 false 4
         2 0 - 0.75 0.75 1 false 0.875 false 9
         3 0 1 0.0625 0.0625 0 true 0.0625 true 1
         4 0 - 0.5 0.5 1 false 0.75 false 5
         5 1 - 0.9375 0.9375 0.5 false 0.8125 false 7
         6 1 - 0.9375 0.9375 1 false 1 false 10
         7 1 0 0.25 0.25 0 true 0.25 true 3
         8 1 - 0.9375 0.9375 1 false 0.8125 false 6
         11 2 0 0 0 0 false 0.125 false 2",
    ),
    (
        "labels",
        "confident_joint",
        "label:i32 label_name:str true_label:i32 true_name:str count:i64 estimated:f64",
        "0 cat 0 cat 3 3.75
         0 cat 1 dog 1 1.25
         0 cat 2 odd's 0 0
         1 dog 0 cat 1 1
         1 dog 1 dog 3 3
         2 odd's 2 odd's 0 0",
    ),
    (
        "labels",
        "label_calibration",
        "noise:str reviewed:i32 recall:f32 recall_low:f32? recall_high:f32? planted:u32",
        "uniform 200 0.75 0.625 0.875 40
         similar 50 0.5 0.375 0.625 40",
    ),
    (
        "outliers",
        "outliers",
        "image_id:u32 distance:f32 score:f32 class_distance:f32? class_score:f32? flagged:bool",
        "0 0.25 1 0.25 1 false
         4 0.75 0.25 0.5 0.5 true
         11 2 0.125 - - true",
    ),
    (
        "shortcuts",
        "associations",
        "attribute:str kind:str values:i32 images:u32 ami:f64 nmi:f64 test:str p_value:f64 q_value:f64 top_value:str top_label:i32 \
         top_label_name:str lift:f64 support:u32",
        "season metadata 2 11 0.25 0.5 permutation 0.001 0.002 winter 0 cat 2 3
         flash metadata 2 10 0 0.0625 G-test 0.5 0.5 true 1 dog 1.25 4",
    ),
    (
        "shortcuts",
        "groups",
        "attribute:str value:str label:i32? label_name:str? images:u32 accuracy:f64? accuracy_low:f64? accuracy_high:f64? rest:f64? \
         p_value:f64? q_value:f64? worse:bool worst:bool source:str",
        "season summer - -   40 0.5 0.375 0.625 0.875 0.0625 0.125 false false probe
         season winter - -   30 0.875 0.75 0.9375 0.5 1 1 false false probe
         season summer 0 cat 20 0.25 0.125 0.375 0.75 0.001 0.004 true true probe
         flash  true   - -   5  0 0 0.25 0.75 0.125 0.25 false false probe
         flash  false  2 odd's 50 - - - - - - false false probe",
    ),
    (
        "shortcuts",
        "shortcuts",
        "rank:i32 class:i32 class_name:str layer:str? unit:i32? score:f64 q_value:f64? exclusivity:f64? \
         share_of_class:f64? border_energy:f64? background_energy:f64? outside_boxes:f64? accuracy_drop:f64 flagged:bool evidence:str",
        "1 0 cat layer4 0 0.75 0.001 1 0.5 0.75 0.5 - 0.25 true fires_for_cat
         2 1 dog layer3 7 0.25 - 0.75 0.5 0.25 0.25 - 0 false fires_for_dog",
    ),
    (
        "audit",
        "issues",
        "image_id:u32 kind:str score:f32 flagged:bool suggested_label:i32? evidence:str rank:i32 other_id:u32? reviewed:str? note:str?",
        "0 duplicate_exact 0 true - same_file 1 2 - -
         3 label 0.0625 true 1 probe_says_dog 1 - - -
         4 blank 0 true - nothing_there 1 - - -
         4 dark 0 true - dark 1 - - -
         4 outlier 0.25 true - far 2 - - -
         7 label 0.25 true 0 probe_says_cat 2 - ok a_cat_indeed
         11 label 0.125 false 0 probe_says_cat 3 - - -
         11 outlier 0.125 true - far 1 - fix -
         10 unreadable 0 true - truncated 1 - - -",
    ),
    (
        "audit",
        "changes",
        "path:str kind:str other_path:str? change:str score_before:f32? score:f32? evidence:str",
        "cats/3.jpg label - new - 0.0625 probe_says_dog
         gone.jpg label - resolved 0.5 - probe_said_cat
         cats/0.jpg duplicate_exact cats/2.jpg new - 0 same_file
         cats/4.jpg outlier - worse 0.5 0.25 far",
    ),
];

/// Writes the tables into a run folder, except those left out.
pub fn write(run: &RunFolder, left_out: &[&str]) {
    let mut stages: Vec<&str> = TABLES.iter().map(|table| table.0).collect();
    stages.dedup();
    for stage in stages {
        let of_stage =
            (TABLES.iter()).filter(|(of, table, ..)| *of == stage && !left_out.contains(table));
        let tables: Vec<(&str, RecordBatch)> = of_stage
            .map(|(_, table, columns, rows)| (*table, batch(columns, rows)))
            .collect();
        add_tables(run, stage, &tables);
    }
}

fn batch(columns: &str, rows: &str) -> RecordBatch {
    let rows: Vec<Vec<Option<String>>> = (rows.lines())
        .map(|row| {
            let cells = row.split_whitespace();
            cells
                .map(|cell| (cell != "-").then(|| cell.to_string()))
                .collect()
        })
        .collect();
    let columns: Vec<&str> = columns.split_whitespace().collect();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (at, column) in columns.iter().enumerate() {
        let (name, kind) = column.split_once(':').unwrap();
        let cells: Vec<Option<&str>> = rows.iter().map(|row| row[at].as_deref()).collect();
        let array = array(kind.trim_end_matches('?'), &cells);
        fields.push(Field::new(
            name,
            array.data_type().clone(),
            kind.ends_with('?'),
        ));
        arrays.push(array);
    }
    assert!(
        rows.iter().all(|row| row.len() == columns.len()),
        "{columns:?}"
    );
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn array(kind: &str, cells: &[Option<&str>]) -> ArrayRef {
    macro_rules! parsed {
        ($array:ty) => {
            Arc::new(<$array>::from_iter(
                cells
                    .iter()
                    .map(|cell| cell.map(|cell| cell.parse().unwrap())),
            ))
        };
    }
    if let Some((_, width)) = kind.split_once('[') {
        let values = cells.iter().flat_map(|cell| cell.unwrap().split(','));
        let values: Float32Array = values
            .map(|value| Some(value.parse::<f32>().unwrap()))
            .collect();
        let width: i32 = width.trim_end_matches(']').parse().unwrap();
        let field = Arc::new(Field::new("item", DataType::Float32, false));
        return Arc::new(FixedSizeListArray::new(
            field,
            width,
            Arc::new(values),
            None,
        ));
    }
    match kind {
        "u32" => parsed!(UInt32Array),
        "u64" => parsed!(UInt64Array),
        "i16" => parsed!(Int16Array),
        "i32" => parsed!(Int32Array),
        "i64" => parsed!(Int64Array),
        "f32" => parsed!(Float32Array),
        "f64" => parsed!(Float64Array),
        "bool" => parsed!(BooleanArray),
        "str" => Arc::new(
            cells
                .iter()
                .map(|cell| cell.map(String::from))
                .collect::<StringArray>(),
        ),
        other => panic!("{other}"),
    }
}

/// Adds the table `images` with these paths and digests, labelled by folder.
pub fn write_images(run: &RunFolder, paths: &[String], digests: &[String]) {
    let rows = (0..)
        .zip(paths.iter().zip(digests))
        .map(|(id, (path, digest))| {
            let label = path.split('/').next().unwrap();
            format!("{id} {path} {digest} 40 20 {label} - -")
        });
    let rows: Vec<String> = rows.collect();
    let columns = "image_id:u32 path:str digest:str? width:i32? height:i32? label_name:str? split:str? error:str?";
    let images = batch(columns, &rows.join("\n"));
    add_tables(run, "scan", &[("images", images)]);
}
