//! Contact sheets of the top suspects: photos of the class with and without the mark, the place enlarged, and the strongest photos
//! of other classes.

use std::collections::BTreeMap;

use prospect_common::{Error, Result, text::escaped};
use prospect_dataset::image::{Geometry, InputSpec, RgbImage};
use prospect_engine::{
    Context,
    tables::{
        classes::name_of,
        layers::{Layer, folder, input_spec},
        sources::Sources,
    },
};
use prospect_output::picture::{
    self, Picture, PictureError, PixelBox,
    caption::{draw_text, line_height, wrapped},
    palette::sheet::{BACKGROUND, INK, MARK},
};
use prospect_store::{Manifest, PartWriter};
use rayon::prelude::*;

use super::{
    evaluation::Evaluation,
    layer::read_maxima,
    patterns::View,
    suspects::{Kind, Suspect},
};

/// Maximum sheets per run, and per mark.
pub const MAX_SHEETS: usize = 12;
const MAX_PER_MARK: usize = 2;
/// Photos per row.
const COLUMNS: usize = 6;
/// Width and height of a photo's slot, and the gap around it, in pixels.
const SIDE: u32 = 200;
const GAP: u32 = 8;
const TITLE: f32 = 19.0;
const SMALL: f32 = 15.0;
/// Approximate pixels of a sheet.
pub const PIXELS: u64 = 1256 * 1080;

/// A photo with a box `x0, y0, x1, y1` in 0..=1 of the network's input.
struct Photo {
    image_id: u32,
    edges: [f64; 4],
}

/// Rows of photos below a heading.
struct Sheet<'s> {
    suspect: &'s Suspect,
    path: String,
    rows: Vec<(String, Vec<Photo>)>,
}

/// Draws the sheets; returns their paths by the suspect's index.
pub fn draw(
    ctx: &Context,
    manifest: &Manifest,
    layers: &[Layer],
    view: &View,
    evaluation: &Evaluation,
    suspects: &[Suspect],
    part: &mut PartWriter,
) -> Result<BTreeMap<usize, String>> {
    let sheets = plan(ctx, manifest, layers, evaluation, suspects)?;
    let spec = input_spec(manifest)?;
    let whole = View::new(true, &spec);
    let wanted = |id: u32| {
        let mut rows = sheets.values().flat_map(|sheet| &sheet.rows);
        rows.any(|(_, row)| row.iter().any(|photo| photo.image_id == id))
    };
    let sources = Sources::read(ctx, manifest, wanted)?;
    let mut paths = BTreeMap::new();
    for (rank, sheet) in sheets {
        ctx.cancel.check()?;
        let title = format!("{}. {}", rank + 1, sheet.suspect.evidence(evaluation));
        let spec = match sheet.suspect.kind {
            Kind::Pattern => &view.spec,
            Kind::Cast => &whole.spec,
            _ => &spec,
        };
        let png = sheet_picture(&sheet, &title, &sources, spec)
            .map_err(|error| Error::internal(&sheet.path, error))?;
        part.file(&sheet.path, &png)?;
        paths.insert(rank, sheet.path);
    }
    Ok(paths)
}

/// Selects the photos of each sheet, strongest first.
fn plan<'s>(
    ctx: &Context,
    manifest: &Manifest,
    layers: &[Layer],
    evaluation: &Evaluation,
    suspects: &'s [Suspect],
) -> Result<BTreeMap<usize, Sheet<'s>>> {
    let mut of_mark: BTreeMap<i32, usize> = BTreeMap::new();
    let mut chosen: Vec<(usize, &Suspect)> = Vec::new();
    for (rank, suspect) in suspects.iter().enumerate() {
        let n = of_mark.entry(suspect.mark).or_default();
        if *n < MAX_PER_MARK && chosen.len() < MAX_SHEETS {
            *n += 1;
            chosen.push((rank, suspect));
        }
    }
    let mut sheets = BTreeMap::new();
    for (rank, suspect) in chosen.iter().filter(|(_, suspect)| suspect.unit.is_none()) {
        sheets.insert(*rank, pattern_sheet(*rank, suspect, evaluation));
    }
    for layer in layers {
        let here: Vec<(usize, usize, &Suspect)> = (chosen.iter())
            .filter_map(|(rank, suspect)| match &suspect.unit {
                Some((name, unit)) if *name == layer.name => Some((*rank, *unit, *suspect)),
                _ => None,
            })
            .collect();
        if here.is_empty() {
            continue;
        }
        let units: Vec<usize> = here.iter().map(|(_, unit, _)| *unit).collect();
        let maxima = read_maxima(ctx, manifest, layer, &units, evaluation)?;
        for (at, (rank, unit, suspect)) in here.into_iter().enumerate() {
            let (strengths, positions) = (&maxima.strengths[at], &maxima.positions[at]);
            let strongest = |of: &dyn Fn(usize) -> bool| -> Vec<usize> {
                let mut images: Vec<usize> =
                    (0..strengths.len()).filter(|&image| of(image)).collect();
                images.sort_by(|&a, &b| strengths[b].total_cmp(&strengths[a]).then(a.cmp(&b)));
                images.truncate(COLUMNS);
                images
            };
            let is_marked = |image: usize| {
                let id = maxima.image_ids[image];
                suspect.marked.binary_search(&id).is_ok()
            };
            let of_class = |image: usize| maxima.classes[image] == suspect.class;
            let with = strongest(&is_marked);
            let without = strongest(&|image| of_class(image) && !is_marked(image));
            let others = strongest(&|image| !of_class(image));
            let at_cell = |images: &[usize]| -> Vec<Photo> {
                let photos = images.iter().map(|&image| Photo {
                    image_id: maxima.image_ids[image],
                    edges: layer.cell_edges(positions[image]),
                });
                photos.collect()
            };
            let class = name_of(
                &evaluation.names.dataset,
                evaluation.classes[suspect.class as usize],
            );
            let class = escaped(&class);
            let enlarged = with.iter().map(|&image| Photo {
                image_id: maxima.image_ids[image],
                edges: wider(suspect.edges.unwrap_or(layer.cell_edges(positions[image]))),
            });
            let rows = vec![
                (
                    format!("{class}, with the unit strongest in the place"),
                    at_cell(&with),
                ),
                ("the place, enlarged".to_string(), enlarged.collect()),
                (
                    format!("other images of {class}, with the unit's strongest cell"),
                    at_cell(&without),
                ),
                (
                    "other classes, with the highest activations".to_string(),
                    at_cell(&others),
                ),
            ];
            let path = format!(
                "pictures/shortcuts/{:02}-{}-unit-{:04}.png",
                rank + 1,
                folder(&layer.name),
                unit
            );
            sheets.insert(
                rank,
                Sheet {
                    suspect,
                    path,
                    rows,
                },
            );
        }
    }
    Ok(sheets)
}

/// The photos of a pattern or a cast, best matches first.
fn pattern_sheet<'s>(rank: usize, suspect: &'s Suspect, evaluation: &Evaluation) -> Sheet<'s> {
    let edges = suspect.edges.unwrap_or([0.0, 0.0, 1.0, 1.0]);
    let photos = |of: &dyn Fn(u32) -> bool, edges: [f64; 4]| -> Vec<Photo> {
        let chosen = suspect.by_match.iter().copied().filter(|&id| of(id));
        let photo = |image_id| Photo { image_id, edges };
        chosen.take(COLUMNS).map(photo).collect()
    };
    let is_own = |id: u32| evaluation.label_of(id) == Some(suspect.class);
    let is_marked = |id: u32| suspect.marked.binary_search(&id).is_ok();
    let class = name_of(
        &evaluation.names.dataset,
        evaluation.classes[suspect.class as usize],
    );
    let class = escaped(&class);
    let mut rows = vec![(
        format!("{class}, with the {}", suspect.kind),
        photos(&is_marked, edges),
    )];
    if suspect.kind == Kind::Pattern {
        rows.push((
            "the place, enlarged".to_string(),
            photos(&is_marked, wider(edges)),
        ));
    }
    rows.extend([
        (
            format!("other images of {class}"),
            photos(&|id| is_own(id) && !is_marked(id), edges),
        ),
        (
            "other classes, with the best matches".to_string(),
            photos(&|id| !is_own(id), edges),
        ),
    ]);
    Sheet {
        suspect,
        path: format!("pictures/shortcuts/{:02}-{}.png", rank + 1, suspect.kind),
        rows,
    }
}

/// Enlarges a box to include its surroundings: at least a fifth of the image in each direction.
fn wider([x0, y0, x1, y1]: [f64; 4]) -> [f64; 4] {
    let along = |low: f64, high: f64| {
        let length = (1.5 * (high - low)).clamp(0.2, 1.0);
        let start = ((low + high - length) / 2.0).clamp(0.0, 1.0 - length);
        (start, start + length)
    };
    let ((x0, x1), (y0, y1)) = (along(x0, x1), along(y0, y1));
    [x0, y0, x1, y1]
}

fn sheet_picture(
    sheet: &Sheet,
    title: &str,
    sources: &Sources,
    spec: &InputSpec,
) -> Result<Vec<u8>, PictureError> {
    let width = COLUMNS as u32 * (SIDE + GAP) + GAP;
    let lines = wrapped(TITLE, title, width - 2 * GAP, usize::MAX);
    let heading = GAP + lines.len() as u32 * line_height(TITLE);
    let row_height = line_height(SMALL) + SIDE + 2 * GAP;
    let height = heading + sheet.rows.len() as u32 * row_height + GAP;
    let mut page = Picture::filled(width, height, BACKGROUND);
    for (at, line) in (0..).zip(&lines) {
        let top = GAP + at * line_height(TITLE);
        draw_text(&mut page, GAP as i32, top as i32, TITLE, INK, line);
    }
    for (at, (row_heading, photos)) in sheet.rows.iter().enumerate() {
        let top = heading + at as u32 * row_height + GAP;
        draw_text(&mut page, GAP as i32, top as i32, SMALL, INK, row_heading);
        let crop = at == 1;
        let tiles: Vec<Result<Picture, String>> = (photos.par_iter())
            .map(|photo| draw_photo(&sources.decode(photo.image_id)?, photo, spec, crop))
            .collect();
        for (column, (tile, photo)) in tiles.into_iter().zip(photos).enumerate() {
            let left = GAP + column as u32 * (SIDE + GAP);
            match tile {
                Ok(tile) => page.paste(
                    &tile,
                    left + (SIDE - tile.width.min(SIDE)) / 2,
                    top + line_height(SMALL) + (SIDE - tile.height.min(SIDE)) / 2,
                ),
                Err(reason) => sources.warn("photo", photo.image_id, &reason),
            }
        }
    }
    picture::png(&page)
}

/// The whole photo with the box outlined, or a crop of the box.
fn draw_photo(
    image: &RgbImage,
    photo: &Photo,
    spec: &InputSpec,
    crop: bool,
) -> Result<Picture, String> {
    let geometry = Geometry::new(&image.header, spec);
    let (height, width) = geometry.input_size();
    let [x0, y0, x1, y1] = photo.edges;
    let (w, h) = (f64::from(width), f64::from(height));
    let seen = geometry.upright_box([x0 * w, y0 * h, x1 * w, y1 * h]);
    let part = PixelBox::nearest(
        [seen.x0, seen.y0, seen.x1, seen.y1],
        image.width,
        image.height,
    )
    .ok_or("the image has no pixels")?;
    let whole = PixelBox::whole(image.width, image.height);
    let cut = if crop { part } else { whole };
    let mut tile = picture::tile(&image.pixels, image.width, image.height, cut, SIDE)
        .map_err(|error| error.to_string())?;
    if !crop {
        let scale = |edge: u32, of: u32, to: u32| {
            (u64::from(edge) * u64::from(to) / u64::from(of.max(1))) as u32
        };
        let (tile_width, tile_height) = (tile.width, tile.height);
        let edges = [
            scale(part.x0, image.width, tile_width),
            scale(part.y0, image.height, tile_height),
            scale(part.x1, image.width, tile_width),
            scale(part.y1, image.height, tile_height),
        ];
        frame(&mut tile, edges);
    }
    Ok(tile)
}

/// Draws the outline of a box, two pixels wide.
fn frame(tile: &mut Picture, [x0, y0, x1, y1]: [u32; 4]) {
    const LINE: u32 = 2;
    let (width, height) = ((x1 - x0).max(LINE), (y1 - y0).max(LINE));
    let horizontal = Picture::filled(width, LINE, MARK);
    let vertical = Picture::filled(LINE, height, MARK);
    tile.paste(&horizontal, x0, y0);
    tile.paste(&horizontal, x0, (y0 + height).saturating_sub(LINE));
    tile.paste(&vertical, x0, y0);
    tile.paste(&vertical, (x0 + width).saturating_sub(LINE), y0);
}
