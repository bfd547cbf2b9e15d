//! The page of units: what each responds to, layer by layer.
//!
//! The page lists the layers; their units are in one data file per layer, loaded when the layer is opened.

mod gather;
#[cfg(test)]
mod tests;

use askama::Template;
use prospect_common::{
    Result,
    text::{count, plural},
};
use prospect_engine::{Context, tables::layers::folder};
use prospect_output::picture::{filter_grid, png};
use serde_json::{Value, json};

use self::gather::{Layer, Unit, Units};
use super::frame::{Frame, NAME, PATH, Page, Shell, short, shown};

/// Units per class in the search over all layers, and units per layer shown before any search.
const OF_CLASS: usize = 96;
const OF_LAYER: usize = 3;
/// Maximum number of class names suggested by the search.
const MAX_NAMED: usize = 2_000;
/// The picture of the first-layer filters, in the folder `report`.
const FILTERS: &str = "filters.png";
/// Units per layer whose images enter the report.
const WITH_IMAGES: usize = 48;

/// `units.html`.
#[derive(Template)]
#[template(path = "units.html")]
struct UnitsPage {
    shell: Shell,
    /// Whether `patches` has run.
    ready: bool,
    subtitle: String,
    measure: &'static str,
    classes: Vec<String>,
    /// Caption of the first-layer filters; empty without a picture.
    filters: String,
    layers: Vec<LayerRow>,
}

struct LayerRow {
    name: String,
    op: String,
    shape: String,
    field: String,
    units: String,
    /// Empty if none.
    dead: String,
}

/// The filters of the first convolution.
struct Filters {
    about: String,
    png: Vec<u8>,
}

pub fn page(frame: &Frame) -> Result<Page> {
    let (ctx, manifest) = (frame.ctx, &frame.manifest);
    let units = Units::of_run(ctx, manifest)?;
    let filters = units.as_ref().and_then(|_| Filters::of_model(ctx));
    let shell = frame.shell("units", &["units.js"]);
    let template = UnitsPage::new(shell, units.as_ref(), filters.as_ref());
    let mut page = frame.page("units", &template)?;
    page.files
        .extend(filters.map(|filters| (FILTERS.into(), filters.png)));
    let Some(units) = units else {
        return Ok(page);
    };
    page.data.push(("units".into(), overview(&units)));
    page.data
        .push(("units-classes".into(), found_by_class(&units)));
    for (index, layer) in units.layers.iter().enumerate() {
        page.data
            .push((format!("units-{index:02}"), layer_data(layer)));
    }
    page.images = images(&units);
    Ok(page)
}

impl UnitsPage {
    /// `units`: `None` if `patches` has not run.
    fn new(shell: Shell, units: Option<&Units>, filters: Option<&Filters>) -> UnitsPage {
        let sum = |of: fn(&Layer) -> usize| {
            let layers = units.iter().flat_map(|units| &units.layers);
            layers.map(of).sum::<usize>() as u64
        };
        let n_layers = units.map_or(0, |units| units.layers.len());
        let mut subtitle = format!(
            "{} in {}",
            plural(sum(|layer| layer.n_units), "unit", "units"),
            plural(n_layers as u64, "layer", "layers")
        );
        match sum(|layer| layer.n_dead) {
            0 => {}
            n => subtitle += &format!(", {} of them silent or constant on these images", count(n)),
        }
        let names = units.iter().flat_map(|units| &units.classes);
        UnitsPage {
            shell,
            ready: units.is_some(),
            subtitle,
            measure: match units.map(|units| units.measure.as_str()) {
                Some("class_selectivity") => {
                    "class selectivity: 0 if all classes activate the unit equally, 1 if only one does"
                }
                _ => {
                    "lifetime sparseness: 0 if all images activate the unit equally, 1 if only one does"
                }
            },
            classes: names
                .take(MAX_NAMED)
                .map(|name| shown(name, NAME))
                .collect(),
            filters: filters.map_or(String::new(), |filters| filters.about.clone()),
            layers: (units.iter().flat_map(|units| &units.layers))
                .map(LayerRow::of)
                .collect(),
        }
    }
}

impl LayerRow {
    fn of(layer: &Layer) -> LayerRow {
        let [_, rows, cols] = layer.shape;
        LayerRow {
            name: shown(&layer.name, PATH),
            op: shown(&layer.op, NAME),
            shape: format!("{rows}\u{a0}×\u{a0}{cols}"),
            field: match layer.field {
                Some([height, width]) => format!("{height}\u{a0}×\u{a0}{width}\u{a0}px"),
                None => "whole image".into(),
            },
            units: count(layer.n_units as u64),
            dead: match layer.n_dead {
                0 => String::new(),
                n => count(n as u64),
            },
        }
    }
}

impl Filters {
    /// `None` if the network is gone or does not begin with a convolution.
    fn of_model(ctx: &Context) -> Option<Filters> {
        let first = ctx.model().ok()?.first_filters().ok()?;
        let [n, channels, height, width] = first.shape;
        let png = png(&filter_grid(&first.values, first.shape, false).ok()?).ok()?;
        let scaled = "each scaled to its own minimum and maximum weight";
        Some(Filters {
            about: format!(
                "The {n} filters of {}, {channels} × {height} × {width}, {scaled}",
                shown(&first.name, PATH)
            ),
            png,
        })
    }
}

/// The data that the script loads first.
fn overview(units: &Units) -> Value {
    let layers = units.layers.iter().map(|layer| {
        let best = units.by_selectivity(layer).into_iter().take(OF_LAYER);
        json!({
            "name": shown(&layer.name, PATH),
            "query": layer.name,
            "folder": folder(&layer.name),
            "units": layer.n_units,
            "sheets": layer.units.len(),
            "best": best.map(|unit| unit.unit).collect::<Vec<usize>>(),
        })
    });
    json!({
        "k": units.k,
        "images": units.images,
        "counted": units.counted,
        "by": units.grouped_by,
        "classes": units.classes.iter().map(|name| shown(name, NAME)).collect::<Vec<String>>(),
        "layers": layers.collect::<Vec<Value>>(),
    })
}

/// For each class, the units (layer, unit) that respond to it.
fn found_by_class(units: &Units) -> Value {
    json!(units.of_classes(OF_CLASS))
}

/// Each unit as a list, to be read by name in units.js.
fn layer_data(layer: &Layer) -> Value {
    let row = |unit: &Unit| {
        let max = unit.bars.iter().copied().max().unwrap_or(0).max(1);
        let bars: Vec<u32> = (unit.bars.iter())
            .map(|&bar| (u64::from(bar) * 100).div_ceil(max.into()) as u32)
            .collect();
        json!([
            unit.unit,
            short(unit.selectivity),
            short(unit.share_active),
            unit.n_active,
            short(unit.mean),
            short(unit.low()),
            short(unit.max),
            unit.top_class,
            unit.classes,
            unit.images,
            bars,
            u8::from(unit.traced),
        ])
    };
    json!(layer.units.iter().map(row).collect::<Vec<Value>>())
}

/// Images of the most selective units, taking turns between layers.
fn images(units: &Units) -> Vec<u32> {
    let best: Vec<Vec<&Unit>> = units
        .layers
        .iter()
        .map(|layer| units.by_selectivity(layer))
        .collect();
    let turns = (0..WITH_IMAGES).flat_map(|place| best.iter().filter_map(move |of| of.get(place)));
    turns.flat_map(|unit| unit.images.iter().copied()).collect()
}
