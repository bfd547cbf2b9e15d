//! The survey before an export: images, classes, splits, maps and boxes.

use std::collections::{BTreeSet, HashMap};

use prospect_common::{Error, Result};
use prospect_dataset::image::Header;
use prospect_engine::{
    Context,
    schema::{images, probe, probe_classes, projection, projection_quality},
    tables::classes::{ClassNames, name_of},
};
use prospect_output::export::Format;
use prospect_stages::writer_of;
use prospect_store::{Manifest, StageRecord};

/// Marks an image without a row in the export.
const NONE: u32 = u32::MAX;

pub struct Survey {
    /// Images in the export.
    pub n: u64,
    /// Unreadable images, and images left out because of the limit.
    pub unreadable: u64,
    pub left_out: u64,
    /// Row of each image in the export, by image id; 4 bytes per image.
    row_of: Vec<u32>,
    pub splits: Vec<Option<String>>,
    /// Names of the dataset's classes by their number.
    pub classes: Vec<String>,
    /// Names of the network's classes, if it has them.
    pub network: HashMap<i32, String>,
    /// Methods in the table `projection`.
    pub maps: Vec<String>,
    /// The dataset's class of each probability of the probe.
    pub probe_classes: Vec<i32>,
    /// `x0, y0, x1, y1` in pixels of the upright image, by path.
    pub boxes: HashMap<String, Vec<[f64; 4]>>,
}

/// Columns of the table `images`.
struct ImageList {
    readable: Vec<bool>,
    splits: BTreeSet<Option<String>>,
    /// Paths and upright sizes, if there are boxes to clip.
    sizes: Vec<(String, Option<(u32, u32)>)>,
}

impl Survey {
    /// Includes at most `points` images if the format is limited.
    pub fn read(ctx: &Context, manifest: &Manifest, format: Format, points: u64) -> Result<Survey> {
        let boxes = match format {
            Format::Coco => ctx.config.boxes()?,
            _ => None,
        };
        let list = ImageList::read(ctx, manifest, boxes.is_some())?;
        let readable = list.readable.iter().filter(|readable| **readable).count() as u64;
        let max = match format {
            Format::Tensorboard => readable.min(points),
            _ => readable,
        };
        let mut row_of = vec![NONE; list.readable.len()];
        let (mut at, mut n) = (0, 0);
        for (row, _) in row_of.iter_mut().zip(&list.readable).filter(|(_, is)| **is) {
            // An evenly spaced sample of `max` images.
            if at * max / readable.max(1) >= u64::from(n) {
                *row = n;
                n += 1;
            }
            at += 1;
        }
        if n == 0 {
            return Err(Error::Missing {
                what: format!("a readable image in {}", ctx.run.root().display()),
                next: "see `prospect query \"select path, error from images\"`".to_string(),
            });
        }
        let names = ClassNames::read(ctx.run, manifest)?;
        let fitted = match boxes {
            None => HashMap::new(),
            Some(boxes) => {
                let sizes = list.sizes.iter();
                let sizes = sizes.map(|(path, size)| (path.as_str(), *size));
                boxes.fit(sizes, &ctx.config.images.dir)?.by_image
            }
        };
        let last = names.dataset.keys().next_back().copied().unwrap_or(-1);
        let name = |class| name_of(&names.dataset, class);
        Ok(Survey {
            n: n.into(),
            unreadable: list.readable.len() as u64 - readable,
            left_out: readable - u64::from(n),
            row_of,
            splits: list.splits.into_iter().collect(),
            classes: (0..=last).map(name).collect(),
            network: names.network.into_iter().collect(),
            maps: maps(ctx, manifest)?,
            probe_classes: probe_classes(ctx, manifest)?,
            boxes: fitted,
        })
    }

    /// The image's row in the export, if it is included.
    pub fn row(&self, image_id: u32) -> Option<u32> {
        let row = self.row_of.get(image_id as usize).copied();
        row.filter(|row| *row != NONE)
    }
}

impl ImageList {
    fn read(ctx: &Context, manifest: &Manifest, with_sizes: bool) -> Result<ImageList> {
        let mut list = ImageList {
            readable: Vec::new(),
            splits: BTreeSet::new(),
            sizes: Vec::new(),
        };
        let columns = (
            images::image_id,
            images::path,
            images::split,
            images::error,
            images::width,
            images::height,
            images::orientation,
        );
        for batch in ctx.run.rows(manifest, columns) {
            let batch = batch?;
            ctx.cancel.check()?;
            for (id, path, split, error, width, height, orientation) in batch.iter() {
                if id as usize != list.readable.len() {
                    let expected = format!("image {}: ids are consecutive", list.readable.len());
                    return Err(batch.unexpected(expected, format!("image {id}")));
                }
                let size = Header::stored(width, height, orientation).known_size();
                let is_readable = error.is_none() && size.is_some();
                list.readable.push(is_readable);
                if is_readable {
                    list.splits.insert(split.map(str::to_string));
                }
                if with_sizes {
                    list.sizes.push((path.to_string(), size));
                }
            }
        }
        Ok(list)
    }
}

/// Whether the table is complete and matches the latest scan.
pub fn is_usable(manifest: &Manifest, table: &str) -> bool {
    fn is_current(manifest: &Manifest, record: &StageRecord) -> bool {
        record.complete
            && record.needs.iter().all(|(need, key)| {
                let need = manifest.stages.get(need);
                need.is_some_and(|need| need.dependency_key() == *key && is_current(manifest, need))
            })
    }
    let record = writer_of(table).and_then(|stage| manifest.stages.get(stage.name));
    manifest.has(table) && record.is_some_and(|record| is_current(manifest, record))
}

fn maps(ctx: &Context, manifest: &Manifest) -> Result<Vec<String>> {
    let mut maps = Vec::new();
    if is_usable(manifest, projection::NAME) && manifest.has(projection_quality::NAME) {
        for batch in ctx.run.rows(manifest, (projection_quality::method,)) {
            maps.extend(batch?.iter().map(|(method,)| method.to_string()));
        }
    }
    Ok(maps)
}

fn probe_classes(ctx: &Context, manifest: &Manifest) -> Result<Vec<i32>> {
    let mut found: Vec<(i32, i32)> = Vec::new();
    if is_usable(manifest, probe::NAME) && manifest.has(probe_classes::NAME) {
        let columns = (probe_classes::position, probe_classes::class);
        for batch in ctx.run.rows(manifest, columns) {
            found.extend(batch?.iter());
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, class)| class).collect())
}
