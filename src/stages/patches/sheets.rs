//! Contact sheets of a unit's top patches, cropped from the original files.

use std::{collections::BTreeMap, ops::Range};

use prospect_common::{Error, Result};
use prospect_config::UnitChoice;
use prospect_dataset::image::{Geometry, InputSpec, RgbImage};
use prospect_engine::{
    Context,
    schema::{images, patches},
    tables::{
        layers::{Layer, unit_picture},
        sources::Sources,
    },
};
use prospect_output::picture::{self, Picture, PictureError, PixelBox, palette};
use prospect_store::{Manifest, PartWriter};
use rayon::prelude::*;

/// Units per layer with `units = "selective"`.
pub const SELECTIVE: usize = 12;
/// Width and height of a tile in pixels.
const TILE: u32 = 96;
pub const TILE_PIXELS: u64 = (TILE * TILE) as u64;
/// Pixels between tiles.
const GAP: u32 = 4;
/// Tiles in memory at a time: 27 KiB each, 216 MiB in total.
const MAX_TILES: usize = 8192;
/// Images decoded between checks for cancellation.
const CHUNK_IMAGES: usize = 64;

/// The sheets of one part: layer indices, each with a range of the layer's pictured units.
pub type SheetPart = Vec<(usize, Range<usize>)>;

/// Contact sheets of a layer without dead units.
pub fn max_sheets(units: &UnitChoice, channels: usize) -> usize {
    match units {
        UnitChoice::All => channels,
        UnitChoice::Selective => channels.min(SELECTIVE),
        UnitChoice::Listed(listed) => (listed.iter())
            .filter(|&&unit| (unit as usize) < channels)
            .count(),
    }
}

/// Divides the sheets into parts that fit in memory. Depends only on layers and settings, not on which units are dead: a
/// range may extend past the last pictured unit.
pub fn plan(layers: &[Layer], units: &UnitChoice, k: usize) -> Vec<SheetPart> {
    let capacity = (MAX_TILES / k.max(1)).max(1);
    let mut parts = Vec::new();
    let mut part = SheetPart::new();
    let mut room = capacity;
    for (index, layer) in layers.iter().enumerate() {
        let max = max_sheets(units, layer.channels);
        let mut next = 0;
        while next < max {
            let end = max.min(next + room);
            part.push((index, next..end));
            room -= end - next;
            next = end;
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = capacity;
            }
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Path of a unit's contact sheet in the run folder.
pub fn path(layer: &str, unit: usize) -> String {
    unit_picture("patches", layer, unit)
}

/// Sheet, position on the sheet, and tile.
type PlacedTile = (usize, usize, Picture);

/// Crops to cut from each image, by image id.
type CutsByImage = BTreeMap<u32, Vec<Cut>>;

/// A crop to cut: sheet, position on the sheet, and the cell whose receptive field it shows.
struct Cut {
    sheet: usize,
    place: usize,
    layer: usize,
    cell: (u32, u32),
}

/// Draws a part's sheets; returns the number of unreadable images, whose positions stay empty.
pub fn draw(
    ctx: &Context,
    manifest: &Manifest,
    layers: &[Layer],
    chosen: &SheetPart,
    spec: &InputSpec,
    files: &mut PartWriter,
) -> Result<usize> {
    let (paths, cuts) = read_cuts(ctx, manifest, layers, chosen)?;
    // A unit has at most one tile per image.
    let places =
        (ctx.config.patches.k as u64).min(ctx.run.read(manifest, images::NAME).rows()) as usize;
    let mut sheets: Vec<Vec<Option<Picture>>> = vec![vec![None; places]; paths.len()];
    let sources = Sources::read(ctx, manifest, |id| cuts.contains_key(&id))?;
    let images: Vec<(&u32, &Vec<Cut>)> = cuts.iter().collect();
    let mut unreadable = 0;
    for chunk in images.chunks(CHUNK_IMAGES) {
        ctx.cancel.check()?;
        let tiles: Vec<Result<Vec<PlacedTile>, String>> = chunk
            .par_iter()
            .map(|(image_id, cuts)| cut_image(&sources.decode(**image_id)?, spec, layers, cuts))
            .collect();
        for ((image_id, _), tiles) in chunk.iter().zip(tiles) {
            match tiles {
                Ok(tiles) => {
                    for (sheet, place, tile) in tiles {
                        if let Some(slot) = sheets[sheet].get_mut(place) {
                            *slot = Some(tile);
                        }
                    }
                }
                Err(reason) => {
                    unreadable += 1;
                    sources.warn("crops", **image_id, &reason);
                }
            }
        }
    }
    let layout = picture::Layout {
        columns: (1..).find(|c| c * c >= places).unwrap_or(1),
        tile_size: TILE,
        gap: GAP,
        background: palette::sheet::MAT,
    };
    let bytes: Vec<Result<Vec<u8>, PictureError>> = sheets
        .into_par_iter()
        .map(|tiles| picture::png(&picture::contact_sheet(&tiles, &layout)?))
        .collect();
    for (path, bytes) in paths.iter().zip(bytes) {
        let bytes = bytes.map_err(|error| Error::internal(path, error))?;
        files.file(path, &bytes)?;
    }
    Ok(unreadable)
}

/// Paths of the sheets, and the crops to cut from each image.
fn read_cuts(
    ctx: &Context,
    manifest: &Manifest,
    layers: &[Layer],
    chosen: &SheetPart,
) -> Result<(Vec<String>, CutsByImage)> {
    let mut paths = Vec::new();
    let mut cuts = CutsByImage::new();
    for (layer, range) in chosen {
        let columns = (
            patches::unit,
            patches::rank,
            patches::image_id,
            patches::row,
            patches::col,
            patches::crop,
        );
        let rows = (ctx.run.rows(manifest, columns))
            .part(*layer)
            .only(patches::layer, &layers[*layer].name);
        // Units are in ascending order; `pictured` counts those with a sheet.
        let mut last_unit = None;
        let mut pictured = 0;
        for batch in rows {
            let batch = batch?;
            for (unit, rank, image_id, row, col, crop) in batch.iter() {
                let Some(crop) = crop else {
                    continue;
                };
                let is_first = last_unit != Some(unit);
                if is_first {
                    last_unit = Some(unit);
                    pictured += 1;
                }
                if !range.contains(&(pictured - 1)) {
                    continue;
                }
                if is_first {
                    paths.push(crop.to_string());
                }
                let cell = |n| u32::try_from(n).ok();
                let (Some(row), Some(col), 1..) = (cell(row), cell(col), rank) else {
                    return Err(batch.unexpected("cells and ranks", "a negative number"));
                };
                cuts.entry(image_id).or_default().push(Cut {
                    sheet: paths.len() - 1,
                    place: rank as usize - 1,
                    layer: *layer,
                    cell: (row, col),
                });
            }
        }
    }
    Ok((paths, cuts))
}

/// Cuts all crops of one image.
fn cut_image(
    image: &RgbImage,
    spec: &InputSpec,
    layers: &[Layer],
    cuts: &[Cut],
) -> Result<Vec<PlacedTile>, String> {
    let geometry = Geometry::new(&image.header, spec);
    cuts.iter()
        .map(|cut| {
            let seen = layers[cut.layer].input_box(cut.cell, geometry.input_size());
            let part = geometry.upright_box(seen);
            let edges = [part.x0, part.y0, part.x1, part.y1];
            let part = PixelBox::nearest(edges, image.width, image.height)
                .ok_or("the image has no pixels")?;
            picture::tile(&image.pixels, image.width, image.height, part, TILE)
                .map(|tile| (cut.sheet, cut.place, tile))
                .map_err(|error| error.to_string())
        })
        .collect()
}
