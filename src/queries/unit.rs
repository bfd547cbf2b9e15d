//! All facts about one unit in a run's tables.

use std::collections::{BTreeMap, HashSet};

use prospect_common::{Error, Result, text::similar_names};
use prospect_engine::{
    Context,
    schema::units,
    tables::{
        files::files,
        groups::Groups,
        layers::{Layer, folder, read_layers},
        units::{read_patches, read_stats},
    },
};
use prospect_store::Manifest;
use serde::Serialize;

pub use prospect_engine::tables::units::UnitStats;
pub use prospect_stages::backprop::unit_sheet;

/// Number of top images that [`ClassFacts::share_of_top`] refers to.
pub const TOP_IMAGES: usize = 100;
/// Rows of `units` in memory at a time.
const BLOCK_ROWS: usize = 1024;

/// One unit of one layer over the dataset.
#[derive(Debug, Serialize)]
pub struct UnitFacts {
    pub layer: String,
    pub channels: usize,
    /// Rows and columns of the layer's map.
    pub map: (u32, u32),
    #[serde(flatten)]
    pub stats: UnitStats,
    /// Best first.
    pub patches: Vec<PatchFacts>,
    /// What [`ClassFacts::name`] is: "label", or "predicted class" in a dataset without labels.
    pub grouped_by: &'static str,
    /// Number of top images: those that activate the unit most, at most [`TOP_IMAGES`].
    pub n_top: usize,
    /// Largest mean first.
    pub classes: Vec<ClassFacts>,
}

#[derive(Debug, Serialize)]
pub struct PatchFacts {
    pub rank: i16,
    pub image_id: u32,
    pub path: String,
    /// See [`UnitFacts::grouped_by`].
    pub class: Option<String>,
    pub value: f32,
    pub row: u32,
    pub col: u32,
    /// `x0, y0, x1, y1` in stored file pixels.
    #[serde(rename = "box")]
    pub file_box: [f32; 4],
    pub clipped: bool,
}

#[derive(Debug, Serialize)]
pub struct ClassFacts {
    pub name: String,
    pub images: u64,
    /// Mean over the images of the maximum activation in the map.
    pub mean: f64,
    /// Share of the unit's top images, 0..=1.
    pub share_of_top: f64,
}

/// File name of a unit's picture: the sanitized layer name and the unit's number.
pub fn picture_name(layer: &str, unit: usize) -> String {
    format!("{}-unit-{unit:04}.png", folder(layer))
}

/// Facts about the unit `LAYER:CHANNEL`.
///
/// # Errors
/// The unit is not recorded, or tables are missing.
pub fn unit_facts(ctx: &Context, name: &str) -> Result<UnitFacts> {
    let manifest = ctx.run.manifest()?;
    let layers = read_layers(ctx.run, &manifest)?;
    let (layer, unit) = find(&layers, name)?;
    let stats = read_stats(ctx.run, &manifest, &layer.name)?;
    let stats = (stats.into_iter())
        .find(|stats| stats.unit == unit)
        .ok_or_else(|| Error::Missing {
            what: format!(
                "unit {unit} of layer {} in the table unit_stats",
                layer.name
            ),
            next: "run `prospect run patches`".into(),
        })?;
    let patches = read_patches(ctx.run, &manifest, layer, |other| other == unit)?;
    let groups = Groups::read(ctx, &manifest)?;
    let shown: HashSet<u32> = patches.iter().map(|patch| patch.image_id).collect();
    let files = files(ctx.run, &manifest, |id, _| shown.contains(&id))?;
    let (n_top, classes) = classes(ctx, &manifest, layer, unit, &groups)?;
    let patches = (patches.into_iter())
        .map(|patch| PatchFacts {
            rank: patch.rank,
            image_id: patch.image_id,
            path: (files.get(&patch.image_id)).map_or(String::new(), |file| file.path.clone()),
            class: groups.name(patch.image_id).map(str::to_string),
            value: patch.value,
            row: patch.cell.0,
            col: patch.cell.1,
            file_box: patch.file_box,
            clipped: patch.clipped,
        })
        .collect();
    Ok(UnitFacts {
        layer: layer.name.clone(),
        channels: layer.channels,
        map: (layer.height, layer.width),
        stats,
        patches,
        grouped_by: groups.by,
        n_top,
        classes,
    })
}

/// The layer and unit of `LAYER:CHANNEL`.
fn find<'l>(layers: &'l [Layer], name: &str) -> Result<(&'l Layer, usize)> {
    let wrong = |complaint: String| Err(Error::usage(complaint));
    let Some((layer, channel)) = name.rsplit_once(':') else {
        let example = layers.first().map_or("layer4", |layer| &layer.name);
        return wrong(format!(
            "{name:?} is not a unit; write LAYER:CHANNEL, such as {example}:17"
        ));
    };
    let Some(layer) = layers.iter().find(|known| known.name == layer) else {
        let known: Vec<&str> = layers.iter().map(|known| &*known.name).collect();
        return wrong(format!(
            "the run has no layer {layer:?}; {}; `prospect query \"select layer, channels from layers\"` lists all; \
             [extract] layers sets which are recorded",
            similar_names(layer, &known)
        ));
    };
    match channel.parse::<usize>() {
        Ok(unit) if unit < layer.channels => Ok((layer, unit)),
        _ => wrong(format!(
            "layer {} has no unit {channel:?}; its units are 0 to {}",
            layer.name,
            layer.channels.saturating_sub(1)
        )),
    }
}

/// Sums over a class.
#[derive(Default)]
struct Sum {
    images: u64,
    activation: f64,
    top: usize,
}

/// The unit's response to each class, from its layer's rows of `units`. Non-finite activations are left out, as in
/// `unit_stats`.
fn classes(
    ctx: &Context,
    manifest: &Manifest,
    layer: &Layer,
    unit: usize,
    groups: &Groups,
) -> Result<(usize, Vec<ClassFacts>)> {
    let rows = (ctx.run.rows(manifest, (units::image_id, units::max)))
        .only(units::layer, &layer.name)
        .batch_rows(BLOCK_ROWS);
    let mut activations: Vec<(f32, u32)> = Vec::new();
    for batch in rows {
        ctx.cancel.check()?;
        let batch = batch?;
        batch.check_length(&batch.columns().1, layer.channels)?;
        let found = batch.iter().map(|(id, max)| (max[unit].to_f32(), id));
        activations.extend(found.filter(|(value, _)| value.is_finite()));
    }
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for (value, id) in &activations {
        if let Some(name) = groups.name(*id) {
            let sum = sums.entry(name).or_default();
            sum.images += 1;
            sum.activation += f64::from(*value);
        }
    }
    activations.retain(|(value, _)| *value > 0.0);
    activations.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    activations.truncate(TOP_IMAGES);
    for (_, id) in &activations {
        if let Some(sum) = groups.name(*id).and_then(|name| sums.get_mut(name)) {
            sum.top += 1;
        }
    }
    let mut classes: Vec<ClassFacts> = (sums.into_iter())
        .map(|(name, sum)| ClassFacts {
            name: name.to_string(),
            images: sum.images,
            mean: sum.activation / sum.images as f64,
            share_of_top: sum.top as f64 / activations.len().max(1) as f64,
        })
        .collect();
    // Ties are ordered by name.
    classes.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok((activations.len(), classes))
}
