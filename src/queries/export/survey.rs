//! What an export has to know before its first image: which images are in it, the classes, the splits, the maps, the boxes.

use std::collections::{BTreeSet, HashMap};

use prospect_common::{Error, Result};
use prospect_dataset::image::Header;
use prospect_engine::{
    Context,
    tables::{
        classes::ClassNames,
        columns::{Columns, integer, text},
    },
};
use prospect_output::export::Format;
use prospect_stages::writer_of;
use prospect_store::{Manifest, StageRecord};

/// No row of the export.
const NONE: u32 = u32::MAX;

pub struct Survey {
    /// Images in the export.
    pub n: u64,
    /// Images that cannot be read, and those left out because there are too many.
    pub unreadable: u64,
    pub left_out: u64,
    /// Row of each image in the export, by image id; 4 bytes an image.
    row_of: Vec<u32>,
    pub splits: Vec<Option<String>>,
    /// Names of the dataset's classes by their number.
    pub classes: Vec<String>,
    /// The network's, where it names them.
    pub network: HashMap<i32, String>,
    /// Methods in the table `projection`.
    pub maps: Vec<String>,
    /// The dataset's class of each of the probe's probabilities.
    pub judged: Vec<i32>,
    /// `x0, y0, x1, y1` in pixels of the upright image, by path.
    pub boxes: HashMap<String, Vec<[f64; 4]>>,
}

/// What images are surveyed for.
struct Seen {
    readable: Vec<bool>,
    splits: BTreeSet<Option<String>>,
    /// Paths and upright sizes, where there are boxes to be fitted.
    sizes: Vec<(String, Option<(u32, u32)>)>,
}

impl Survey {
    /// At most `points` images of a format that holds no more.
    pub fn read(ctx: &Context, manifest: &Manifest, format: Format, points: u64) -> Result<Survey> {
        let boxes = match format {
            Format::Coco => ctx.config.boxes()?,
            _ => None,
        };
        let seen = Seen::read(ctx, manifest, boxes.is_some())?;
        let readable = seen.readable.iter().filter(|readable| **readable).count() as u64;
        let most = match format {
            Format::Tensorboard => readable.min(points),
            _ => readable,
        };
        let mut row_of = vec![NONE; seen.readable.len()];
        let (mut at, mut n) = (0, 0);
        for (row, _) in row_of.iter_mut().zip(&seen.readable).filter(|(_, is)| **is) {
            // As many as `most`, evenly spread.
            if at * most / readable.max(1) >= u64::from(n) {
                *row = n;
                n += 1;
            }
            at += 1;
        }
        if n == 0 {
            return Err(Error::Missing {
                what: format!("an image that can be read in {}", ctx.run.root().display()),
                next: "see `prospect query \"select path, error from images\"`".to_string(),
            });
        }
        let names = ClassNames::read(ctx.run, manifest)?;
        let fitted = match boxes {
            None => HashMap::new(),
            Some(boxes) => {
                let sizes = seen.sizes.iter();
                let sizes = sizes.map(|(path, size)| (path.as_str(), *size));
                boxes.fit(sizes)?.by_image
            }
        };
        let last = names.dataset.keys().next_back().copied().unwrap_or(-1);
        let name = |class| prospect_engine::tables::classes::name_of(&names.dataset, class);
        Ok(Survey {
            n: n.into(),
            unreadable: seen.readable.len() as u64 - readable,
            left_out: readable - u64::from(n),
            row_of,
            splits: seen.splits.into_iter().collect(),
            classes: (0..=last).map(name).collect(),
            network: names.network.into_iter().collect(),
            maps: maps(ctx, manifest)?,
            judged: judged(ctx, manifest)?,
            boxes: fitted,
        })
    }

    /// The image's row in the export; `None` for one that is not in it.
    pub fn row(&self, image_id: u32) -> Option<u32> {
        let row = self.row_of.get(image_id as usize).copied();
        row.filter(|row| *row != NONE)
    }
}

impl Seen {
    fn read(ctx: &Context, manifest: &Manifest, with_sizes: bool) -> Result<Seen> {
        let mut seen = Seen {
            readable: Vec::new(),
            splits: BTreeSet::new(),
            sizes: Vec::new(),
        };
        let names = [
            "image_id",
            "path",
            "split",
            "error",
            "width",
            "height",
            "orientation",
        ];
        for batch in ctx.run.read(manifest, "images").columns(&names) {
            let batch = batch?;
            ctx.cancel.check()?;
            let columns = Columns::of(ctx.run, "images", &batch);
            let (splits, errors) = (columns.texts("split")?, columns.texts("error")?);
            let paths = columns.texts("path")?;
            let sizes = Sizes::of(&columns)?;
            for (row, id) in columns.image_ids()?.into_iter().enumerate() {
                if id as usize != seen.readable.len() {
                    let expected = format!("image {}, ids being ranks", seen.readable.len());
                    return Err(columns.unexpected(expected, format!("image {id}")));
                }
                let size = sizes.upright(row);
                let is_readable = text(&errors, row).is_none() && size.is_some();
                seen.readable.push(is_readable);
                if is_readable {
                    let split = text(&splits, row).map(str::to_string);
                    seen.splits.insert(split);
                }
                if with_sizes {
                    let path = text(&paths, row).unwrap_or_default();
                    seen.sizes.push((path.to_string(), size));
                }
            }
        }
        Ok(seen)
    }
}

/// The columns of the table `images` that give an image's size.
pub struct Sizes {
    width: arrow::array::Int64Array,
    height: arrow::array::Int64Array,
    orientation: arrow::array::Int64Array,
}

impl Sizes {
    pub fn of(columns: &Columns) -> Result<Sizes> {
        Ok(Sizes {
            width: columns.integers("width")?,
            height: columns.integers("height")?,
            orientation: columns.integers("orientation")?,
        })
    }

    /// Width and height of the upright image, where the file said them.
    pub fn upright(&self, row: usize) -> Option<(u32, u32)> {
        let side = |array| integer(array, row).and_then(|n| u32::try_from(n).ok());
        let turned = integer(&self.orientation, row).filter(|n| (1..=8).contains(n));
        let header = Header {
            format: "",
            width: side(&self.width).filter(|n| *n > 0)?,
            height: side(&self.height).filter(|n| *n > 0)?,
            orientation: turned.unwrap_or(1) as u8,
        };
        Some(header.upright_size())
    }
}

/// Whether the run has a table that is complete, and of the images as they were last scanned.
pub fn is_usable(manifest: &Manifest, table: &str) -> bool {
    fn is_current(manifest: &Manifest, record: &StageRecord) -> bool {
        record.complete
            && record.needs.iter().all(|(need, key)| {
                let need = manifest.stages.get(need);
                need.is_some_and(|need| need.dependency_key() == key && is_current(manifest, need))
            })
    }
    let record = writer_of(table).and_then(|stage| manifest.stages.get(stage.name));
    manifest.has(table) && record.is_some_and(|record| is_current(manifest, record))
}

fn maps(ctx: &Context, manifest: &Manifest) -> Result<Vec<String>> {
    const TABLE: &str = "projection_quality";
    let mut maps = Vec::new();
    if is_usable(manifest, "projection") && manifest.has(TABLE) {
        for batch in ctx.run.read(manifest, TABLE).columns(&["method"]) {
            let batch = batch?;
            let methods = Columns::of(ctx.run, TABLE, &batch).texts("method")?;
            maps.extend(methods.iter().flatten().map(str::to_string));
        }
    }
    Ok(maps)
}

fn judged(ctx: &Context, manifest: &Manifest) -> Result<Vec<i32>> {
    const TABLE: &str = "probe_classes";
    let mut found: Vec<(i64, i32)> = Vec::new();
    if is_usable(manifest, "probe") && manifest.has(TABLE) {
        for batch in ctx
            .run
            .read(manifest, TABLE)
            .columns(&["position", "class"])
        {
            let batch = batch?;
            let columns = Columns::of(ctx.run, TABLE, &batch);
            let (positions, classes) = (columns.integers("position")?, columns.integers("class")?);
            for row in 0..batch.num_rows() {
                let class = integer(&classes, row).and_then(|class| i32::try_from(class).ok());
                if let (Some(position), Some(class)) = (integer(&positions, row), class) {
                    found.push((position, class));
                }
            }
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, class)| class).collect())
}
