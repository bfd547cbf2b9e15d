//! Object bounding boxes, from the table `[explain] boxes` or from columns of the metadata.
//!
//! Boxes are in COCO format: left edge, top edge, width and height in pixels of the upright image.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use prospect_common::{Error, Result, text};

use crate::{
    pairing::pair,
    user_table::{Attribute, UserTable},
    votes::LabelColumns,
};

/// Names of the four number columns; a table of boxes may use either set.
const LONG: [&str; 4] = ["bbox_x", "bbox_y", "bbox_width", "bbox_height"];
const SHORT: [&str; 4] = ["x", "y", "width", "height"];
/// The column of lists of the four numbers.
const LIST: &str = "bbox";
/// Maximum number of complaints in a message.
const MAX_COMPLAINTS: usize = 5;

/// The boxes of a table by image, unclipped.
#[derive(Debug, Clone)]
pub struct Boxes {
    path: PathBuf,
    /// By the image's path relative to the image folder, in the table's order.
    by_image: BTreeMap<String, Vec<Row>>,
}

#[derive(Debug, Clone)]
struct Row {
    /// `x0, y0, x1, y1`
    edges: [f64; 4],
    /// Its position in the table, for messages.
    place: String,
}

/// The boxes of a run's images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageBoxes {
    /// `x0, y0, x1, y1` in pixels of the upright image, clipped to it. Images without boxes are omitted.
    pub by_image: HashMap<String, Vec<[f64; 4]>>,
    /// Files in the table that the run lacks, sorted.
    pub unknown: Vec<String>,
}

impl Boxes {
    /// Reads a table with one box per row: CSV, JSON or Parquet with the columns `file_name` and `x`, `y`, `width`, `height` or
    /// `bbox_x`, `bbox_y`, `bbox_width`, `bbox_height`, or (JSON, Parquet) a column `bbox` of lists of these four. An image may have
    /// several rows.
    ///
    /// # Errors
    /// Files of another format or with other columns; cells that are not numbers; boxes without area.
    pub fn read(path: &Path) -> Result<Boxes> {
        let mut table = UserTable::read(path, &LabelColumns::default())?;
        let names = table.names();
        let files = table.take_file_names()?;
        let columns = if let Some(lists) = table.others.iter().find(|column| column.name == LIST) {
            numbers_of_lists(path, &table, lists)?
        } else if let Some(columns) = four(&table, LONG).or_else(|| four(&table, SHORT)) {
            columns.map(numbers)
        } else {
            return Err(Error::invalid(
                path,
                "the columns x, y, width, height, or bbox_x, bbox_y, bbox_width, bbox_height, or lists of four in bbox",
                format!("the columns {names}"),
                "add or rename the columns",
            ));
        };
        Boxes::collect(path, &table, files, &columns, false)
    }

    /// Reads boxes from the columns `bbox_x`, `bbox_y`, `bbox_width`, `bbox_height` of the metadata, one per image; an image
    /// whose four cells are empty has none. `None` if the metadata lacks any of the columns.
    ///
    /// # Errors
    /// See [`Boxes::read`].
    pub fn of_metadata(path: &Path, columns: &LabelColumns) -> Result<Option<Boxes>> {
        let mut table = UserTable::read(path, columns)?;
        let Some(columns) = four(&table, LONG).map(|columns| columns.map(numbers)) else {
            return Ok(None);
        };
        let files = table.take_file_names()?;
        Boxes::collect(path, &table, files, &columns, true).map(Some)
    }

    fn collect(
        path: &Path,
        table: &UserTable,
        files: Vec<String>,
        columns: &[Numbers; 4],
        may_be_empty: bool,
    ) -> Result<Boxes> {
        let mut by_image: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        let mut complaints = Vec::new();
        for (row, file) in files.into_iter().enumerate() {
            let cells = columns.each_ref().map(|column| &column[row]);
            if may_be_empty && cells.iter().all(|cell| **cell == Ok(None)) {
                continue;
            }
            let place = table.place(row);
            match box_of(cells) {
                Ok(edges) => by_image.entry(file).or_default().push(Row { edges, place }),
                Err(found) => complaints.push(format!("{place}: {found}")),
            }
        }
        refuse(
            path,
            "boxes: four numbers, width and height above 0",
            complaints,
        )?;
        Ok(Boxes {
            path: path.to_path_buf(),
            by_image,
        })
    }

    /// Number of boxes.
    pub fn n_boxes(&self) -> usize {
        self.by_image.values().map(Vec::len).sum()
    }

    /// Number of images in the table.
    pub fn n_images(&self) -> usize {
        self.by_image.len()
    }

    /// A digest of the boxes, independent of the order of the images and the table's format.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (file, rows) in &self.by_image {
            hasher.update(&(file.len() as u64).to_le_bytes());
            hasher.update(file.as_bytes());
            hasher.update(&(rows.len() as u64).to_le_bytes());
            for edge in rows.iter().flat_map(|row| row.edges) {
                hasher.update(&edge.to_le_bytes());
            }
        }
        hasher.finalize().to_hex()[..32].to_string()
    }

    /// Clips the boxes to a run's images, given as paths relative to `folder` with the upright width and height of readable images.
    /// The table may [spell](pair) the paths otherwise.
    ///
    /// # Errors
    /// Boxes entirely outside their images, each with its position in the table.
    pub fn fit<'i>(
        &self,
        images: impl IntoIterator<Item = (&'i str, Option<(u32, u32)>)>,
        folder: &Path,
    ) -> Result<ImageBoxes> {
        let mut fitted = ImageBoxes::default();
        let images: Vec<(&str, Option<(u32, u32)>)> = images.into_iter().collect();
        let paths: Vec<&str> = images.iter().map(|(path, _)| *path).collect();
        let pairing = pair(self.by_image.keys().map(String::as_str), &paths, folder);
        let mut of_image: HashMap<&str, &[Row]> = HashMap::new();
        for ((name, rows), file) in self.by_image.iter().zip(pairing.files) {
            match file {
                Some(at) => drop(of_image.insert(paths[at], rows)),
                None => fitted.unknown.push(name.clone()),
            }
        }
        let mut complaints = Vec::new();
        for (image, size) in images {
            let (Some(rows), Some((width, height))) = (of_image.get(image), size) else {
                continue;
            };
            let mut boxes = Vec::with_capacity(rows.len());
            for row in *rows {
                let [x0, y0, x1, y1] = row.edges;
                let (w, h) = (f64::from(width), f64::from(height));
                let clipped = [x0.max(0.0), y0.max(0.0), x1.min(w), y1.min(h)];
                if clipped[0] < clipped[2] && clipped[1] < clipped[3] {
                    boxes.push(clipped);
                } else {
                    complaints.push(format!(
                        "{}: x {x0} to {x1}, y {y0} to {y1} in {} of {width}x{height}",
                        row.place,
                        text::escaped(image)
                    ));
                }
            }
            fitted.by_image.insert(image.to_string(), boxes);
        }
        refuse(
            &self.path,
            "boxes inside the upright images, in pixels",
            complaints,
        )?;
        Ok(fitted)
    }
}

/// Fails with the complaints, if any.
fn refuse(path: &Path, expected: &str, complaints: Vec<String>) -> Result<()> {
    if complaints.is_empty() {
        return Ok(());
    }
    let mut found = complaints[..complaints.len().min(MAX_COMPLAINTS)].join("; ");
    if complaints.len() > MAX_COMPLAINTS {
        let more = text::count((complaints.len() - MAX_COMPLAINTS) as u64);
        found += &format!("; and {more} more");
    }
    Err(Error::invalid(
        path,
        expected,
        found,
        "correct or remove the rows",
    ))
}

/// Per row: a number, none, or the invalid content.
type Numbers = Vec<Result<Option<f64>, String>>;

fn four<'t>(table: &'t UserTable, names: [&str; 4]) -> Option<[&'t Attribute; 4]> {
    let column = |name: &str| table.columns.iter().find(|column| column.name == name);
    let [a, b, c, d] = names.map(column);
    Some([a?, b?, c?, d?])
}

fn numbers(column: &Attribute) -> Numbers {
    if column.values.data_type() == &DataType::Utf8 {
        let cells = column.values.as_string::<i32>().iter();
        let number = |cell: Option<&str>| match cell.map(str::trim).filter(|cell| !cell.is_empty())
        {
            None => Ok(None),
            Some(cell) => cell.parse().map(Some).map_err(|_| {
                format!(
                    "{} = {}",
                    column.name,
                    text::escaped(&text::shortened(cell, 40))
                )
            }),
        };
        return cells.map(number).collect();
    }
    match (column.values.data_type(), floats(&column.values)) {
        (DataType::Int64 | DataType::Float64, Some(values)) => values.iter().map(Ok).collect(),
        (kind, _) => vec![Err(format!("{} of type {kind}", column.name)); column.values.len()],
    }
}

/// Splits a column of lists into four columns.
fn numbers_of_lists(path: &Path, table: &UserTable, lists: &Attribute) -> Result<[Numbers; 4]> {
    let wrong = |found: String| {
        Error::invalid(
            path,
            format!("lists of four numbers in column {LIST}"),
            found,
            "correct the column",
        )
    };
    let list = |row: usize| -> Option<ArrayRef> {
        if lists.values.is_null(row) {
            return None;
        }
        match lists.values.data_type() {
            DataType::List(_) => Some(lists.values.as_list::<i32>().value(row)),
            DataType::LargeList(_) => Some(lists.values.as_list::<i64>().value(row)),
            DataType::FixedSizeList(..) => Some(lists.values.as_fixed_size_list().value(row)),
            _ => None,
        }
    };
    let mut columns: [Numbers; 4] = Default::default();
    for row in 0..lists.values.len() {
        let values = list(row).and_then(|values| floats(&values));
        let Some(values) = values.filter(|values| values.len() == 4) else {
            return Err(wrong(format!("another value in {}", table.place(row))));
        };
        for (column, value) in columns.iter_mut().zip(&values) {
            column.push(Ok(value));
        }
    }
    Ok(columns)
}

fn floats(values: &ArrayRef) -> Option<Float64Array> {
    let is_number = values.data_type().is_numeric();
    let values = is_number.then(|| cast(values, &DataType::Float64).ok())??;
    Some(values.as_primitive::<Float64Type>().clone())
}

/// Converts x, y, width and height to `x0, y0, x1, y1`.
fn box_of(cells: [&Result<Option<f64>, String>; 4]) -> Result<[f64; 4], String> {
    let mut numbers = [0.0; 4];
    for ((number, cell), name) in numbers.iter_mut().zip(cells).zip(SHORT) {
        *number = match cell {
            Ok(Some(value)) if value.is_finite() => *value,
            Ok(Some(value)) => return Err(format!("{name} = {value}")),
            Ok(None) => return Err(format!("no {name}")),
            Err(found) => return Err(found.clone()),
        };
    }
    let [x, y, width, height] = numbers;
    if width > 0.0 && height > 0.0 {
        Ok([x, y, x + width, y + height])
    } else {
        Err(format!("width {width}, height {height}"))
    }
}

#[cfg(test)]
mod tests;
