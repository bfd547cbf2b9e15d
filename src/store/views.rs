//! The tables as views for other SQL engines, and the derived table `attributes`. What it derives from is declared here; all
//! other tables are declared above the store.

use arrow::datatypes::DataType;
use prospect_common::Result;

use super::{Manifest, RunFolder, read};
use crate::table;

table! {
    /// The image files, sorted by path. The user's metadata columns follow.
    pub mod images = "images", "file", [158.0, 117.0] {
        /// rank by path; joins all tables
        image_id: u32,
        /// relative to the image folder, separated by `/`
        path: Text,
        /// BLAKE3 of the file; null if it cannot be read
        digest: Option<Text>,
        /// as stored, in pixels
        width: Option<i32>,
        height: Option<i32>,
        /// EXIF, 1 to 8
        orientation: Option<i16>,
        /// class number
        label: Option<i32>,
        label_name: Option<Text>,
        split: Option<Text>,
        /// why the image is unusable
        error: Option<Text>,
        /// what a damaged file lost; the image is used as far as it could be read
        warning: Option<Text>,
        /// mean luma, 0 to 1
        brightness: Option<f32>,
        /// standard deviation of luma
        contrast: Option<f32>,
        /// variance of the Laplacian; photos under about 50 look blurred
        sharpness: Option<f32>,
        /// of the luma, in bits
        entropy: Option<f32>,
        /// 0 to 1
        saturation: Option<f32>,
        /// white balance of the least coloured tenth of the pixels, log2 of red over blue: above 0 reddish, below bluish
        warmth: Option<f32>,
        /// log2 of green over the geometric mean of red and blue: above 0 greenish, below pinkish
        tint: Option<f32>,
        /// perceptual hash
        phash: Option<u64>,
    }
}

/// Derived from `images`: `image_id`, `attribute` and `value`, one row per image and non-null [attribute](attributes).
pub(super) const ATTRIBUTES: &str = "attributes";

/// The table that a derived table is computed from.
pub fn derived_from(table: &str) -> Option<&'static str> {
    (table == ATTRIBUTES).then_some(images::NAME)
}

/// The split and the user's columns of text, flags and integers.
pub(super) fn attributes(run: &RunFolder, manifest: &Manifest) -> Result<Vec<String>> {
    let Some(file) = run.files(manifest, images::NAME).into_iter().next() else {
        return Ok(Vec::new());
    };
    let schema = read::schema(&file)?;
    let categorical =
        |kind: &DataType| kind.is_integer() || matches!(kind, DataType::Boolean | DataType::Utf8);
    let ours = |name: &str| images::TABLE.columns.iter().any(|ours| ours.name == name);
    let is_attribute = |name: &str| name == images::split.name || !ours(name);
    let fields = schema.fields().iter();
    Ok(fields
        .filter(|field| categorical(field.data_type()) && is_attribute(field.name()))
        .map(|field| field.name().clone())
        .collect())
}

/// DuckDB statements that create a view of every table of the run, as of the current manifest.
pub fn views(run: &RunFolder) -> Result<String> {
    let manifest = run.manifest()?;
    let tables = run.tables(&manifest);
    let mut sql = String::new();
    for table in &tables {
        let files: Vec<String> = (run.files(&manifest, table).iter())
            .map(|path| text(&literal_glob(&path.display().to_string())))
            .collect();
        sql += &format!(
            "create or replace view {} as select * from read_parquet([{}], hive_partitioning = false);\n",
            name(table),
            files.join(", ")
        );
    }
    let attributes = attributes(run, &manifest)?;
    if !attributes.is_empty() && !tables.iter().any(|table| table == ATTRIBUTES) {
        let rows = attributes.iter().map(|attribute| {
            let (column, word) = (name(attribute), text(attribute));
            format!(
                "select image_id, {word} as attribute, cast({column} as varchar) as value from images where {column} is not null"
            )
        });
        let rows: Vec<String> = rows.collect();
        sql += &format!(
            "create or replace view {ATTRIBUTES} as {};\n",
            rows.join(" union all ")
        );
    }
    Ok(sql)
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The pattern that matches only this path: DuckDB treats file names as patterns.
fn literal_glob(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '*' | '?' | '[' => pattern.extend(['[', c, ']']),
            c => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(text("a'b"), "'a''b'");
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal_glob("/a=1 [x] *?/é"), "/a=1 [[]x] [*][?]/é");
    }
}
