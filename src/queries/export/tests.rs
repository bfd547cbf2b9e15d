use prospect_store::{RunFolder, table};
use prospect_testing::add_tables;

use super::walk::Walk;

table! {
    /// A number per image.
    mod numbers = "numbers", "number", [0.0, 0.0] {
        image_id: u32,
        value: i32,
    }
}

/// A run with a table of these images and values, one part per slice.
fn run(parts: &[&[(u32, i32)]]) -> (tempfile::TempDir, RunFolder) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(folder.path()).unwrap();
    for rows in parts {
        let rows = numbers::Columns {
            image_id: rows.iter().map(|row| row.0).collect(),
            value: rows.iter().map(|row| row.1).collect(),
        };
        add_tables(&run, "scan", &[(numbers::NAME, rows.batch().unwrap())]);
    }
    (folder, run)
}

/// Values of each requested image.
fn walked(parts: &[&[(u32, i32)]], ids: &[u32]) -> prospect_common::Result<Vec<Vec<i32>>> {
    let (_folder, run) = run(parts);
    let rows = run.rows(&run.manifest()?, (numbers::image_id, numbers::value));
    let mut walk = Walk::new(rows.batch_rows(2), |row| row);
    let mut found = Vec::new();
    for id in ids {
        let mut values = Vec::new();
        while let Some(value) = walk.next_of(*id)? {
            values.push(value);
        }
        found.push(values);
    }
    Ok(found)
}

#[test]
fn rows_of_an_image_span_batches_and_others_are_skipped() {
    let parts: [&[(u32, i32)]; 2] = [&[(0, 10), (2, 20), (2, 21)], &[(2, 22), (5, 50), (6, 60)]];
    assert_eq!(
        walked(&parts, &[1, 2, 3, 5, 9]).unwrap(),
        [vec![], vec![20, 21, 22], vec![], vec![50], vec![]]
    );
}

#[test]
fn table_in_another_order_is_an_error() {
    for parts in [
        [&[(3, 0), (1, 0)][..], &[(4, 0)]],
        [&[(1, 0), (3, 0)], &[(2, 0)]],
    ] {
        let error = walked(&parts, &[9]).unwrap_err().to_string();
        assert!(error.contains("rows in order of the images"), "{error}");
    }
}
