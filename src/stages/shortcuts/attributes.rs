//! Attributes of the images besides the label, as categories: columns of the metadata and quality measures.

use std::collections::HashMap;

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Float64Type},
    error::ArrowError,
};
use prospect_analysis::audit::binning::quantile_bins;
use prospect_common::{Error, Result, text::figure};
use prospect_engine::{Context, schema::images};
use prospect_store::Manifest;

/// Bins of a numeric column with more than `MAX_DISTINCT` distinct values.
const BINS: usize = 5;
const MAX_DISTINCT: usize = 12;
/// Text columns with more values than this, or fewer than `MIN_IMAGES_PER_VALUE`, identify images rather than groups.
const MAX_VALUES: usize = 1000;
const MIN_IMAGES_PER_VALUE: usize = 5;
/// Quality columns written by `scan`; `aspect`, width over height, is added.
const QUALITY: [&str; 9] = [
    images::brightness.name,
    images::contrast.name,
    images::sharpness.name,
    images::entropy.name,
    images::saturation.name,
    images::warmth.name,
    images::tint.name,
    images::width.name,
    images::height.name,
];

/// A column as categories, by image id.
pub struct Attribute {
    pub name: String,
    /// `metadata` or `quality`.
    pub kind: &'static str,
    pub values: Vec<String>,
    /// Index into `values`.
    pub of_image: Vec<Option<u32>>,
}

/// The attributes, and the columns left out with reasons.
pub struct Attributes {
    pub list: Vec<Attribute>,
    pub left_out: Vec<(String, String)>,
}

enum Raw {
    Numbers(Vec<Option<f64>>),
    Texts {
        values: Vec<String>,
        index_of: HashMap<String, u32>,
        of_image: Vec<Option<u32>>,
    },
}

impl Attributes {
    /// Reads the attributes. Takes about 16 bytes per image and column.
    ///
    /// # Errors
    /// `[audit] attributes` names a missing column.
    pub fn read(ctx: &Context, manifest: &Manifest) -> Result<Attributes> {
        let mut raws: Vec<(String, &'static str, Raw)> = Vec::new();
        let mut is_first = true;
        for batch in ctx.run.read(manifest, images::NAME) {
            let batch = batch?;
            ctx.cancel.check()?;
            if is_first {
                for field in batch.schema().fields() {
                    let name = field.name().as_str();
                    let Some(kind) = kind_of(name, ctx.config.audit.attributes.as_deref()) else {
                        continue;
                    };
                    let raw = match field.data_type() {
                        DataType::Utf8 | DataType::Boolean => Raw::Texts {
                            values: Vec::new(),
                            index_of: HashMap::new(),
                            of_image: Vec::new(),
                        },
                        _ => Raw::Numbers(Vec::new()),
                    };
                    raws.push((name.to_string(), kind, raw));
                }
                is_first = false;
            }
            for (name, _, raw) in &mut raws {
                let column = batch.column_by_name(name);
                if column.is_none_or(|column| raw.extend(column).is_err()) {
                    return Err(Error::invalid(
                        ctx.run.path(&format!("tables/{}", images::NAME)),
                        format!("numbers or text in column {name}"),
                        "something else",
                        "run `prospect verify`, then `prospect run scan`",
                    ));
                }
            }
        }
        if let Some(wanted) = &ctx.config.audit.attributes {
            check(wanted, &raws)?;
        }
        raws.extend(aspect(&raws));
        let mut found = Attributes {
            list: Vec::new(),
            left_out: Vec::new(),
        };
        for (name, kind, raw) in raws {
            match raw.categories() {
                Ok((values, of_image)) => found.list.push(Attribute {
                    name,
                    kind,
                    values,
                    of_image,
                }),
                Err(reason) => found.left_out.push((name, reason)),
            }
        }
        Ok(found)
    }
}

/// The kind of an attribute column; `None` for other columns. `wanted` selects metadata columns.
fn kind_of(name: &str, wanted: Option<&[String]>) -> Option<&'static str> {
    if QUALITY.contains(&name) {
        return Some("quality");
    }
    let is_declared = images::TABLE.columns.iter().any(|column| column.name == name)
        // `split` counts as metadata: it comes from folders or the metadata.
        && name != images::split.name;
    let is_wanted = wanted.is_none_or(|wanted| wanted.iter().any(|one| one == name));
    (!is_declared && is_wanted).then_some("metadata")
}

fn check(wanted: &[String], found: &[(String, &'static str, Raw)]) -> Result<()> {
    let missing: Vec<&str> = (wanted.iter())
        .filter(|name| !found.iter().any(|(found, _, _)| found == *name))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the metadata has no column {}", missing.join(", "));
    Err(Error::setting("audit", "attributes", message))
}

/// Width over height.
fn aspect(raws: &[(String, &'static str, Raw)]) -> Option<(String, &'static str, Raw)> {
    let numbers = |name: &str| {
        raws.iter().find_map(|(found, _, raw)| match raw {
            Raw::Numbers(values) if found == name => Some(values),
            _ => None,
        })
    };
    let (widths, heights) = (numbers(images::width.name)?, numbers(images::height.name)?);
    let ratios = (widths.iter().zip(heights))
        .map(|(width, height)| Some((*width)? / (*height).filter(|height| *height > 0.0)?));
    Some(("aspect".into(), "quality", Raw::Numbers(ratios.collect())))
}

impl Raw {
    fn extend(&mut self, column: &ArrayRef) -> Result<(), ArrowError> {
        match self {
            Raw::Numbers(values) => {
                let column = cast(column, &DataType::Float64)?;
                values.extend(column.as_primitive::<Float64Type>());
            }
            Raw::Texts {
                values,
                index_of,
                of_image,
            } => {
                let column = cast(column, &DataType::Utf8)?;
                for value in column.as_string::<i32>() {
                    let value = value.filter(|value| !value.is_empty());
                    of_image.push(value.map(|value| match index_of.get(value) {
                        Some(&index) => index,
                        None => {
                            let index = values.len() as u32;
                            values.push(value.to_string());
                            index_of.insert(value.to_string(), index);
                            index
                        }
                    }));
                }
            }
        }
        Ok(())
    }

    /// The values and each image's index into them, or the reason for leaving the column out.
    fn categories(self) -> Result<(Vec<String>, Vec<Option<u32>>), String> {
        let (values, of_image) = match self {
            Raw::Numbers(numbers) => {
                let bins = quantile_bins(&numbers, BINS, MAX_DISTINCT);
                let name = |(min, max): &(f64, f64)| match min == max {
                    true => exact(*min),
                    false => format!("{} to {}", figure(*min), figure(*max)),
                };
                (bins.ranges.iter().map(name).collect(), bins.bins)
            }
            Raw::Texts {
                values, of_image, ..
            } => sorted(values, of_image),
        };
        let known = of_image.iter().flatten().count();
        match values.len() {
            0 => Err("no image has a value".into()),
            1 => Err(format!("every value is {}", values[0])),
            n if n > MAX_VALUES
                || n * MIN_IMAGES_PER_VALUE > known.max(2 * MIN_IMAGES_PER_VALUE) =>
            {
                Err(format!(
                    "{n} distinct values in {known} images identify images, not groups"
                ))
            }
            _ => Ok((values, of_image)),
        }
    }
}

/// Whole numbers without decimals, others to three digits.
fn exact(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value}")
    } else {
        figure(value)
    }
}

/// Sorts the values and renumbers the images' indices.
fn sorted(values: Vec<String>, of_image: Vec<Option<u32>>) -> (Vec<String>, Vec<Option<u32>>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].cmp(&values[b]));
    let mut rank = vec![0; values.len()];
    for (at, &index) in order.iter().enumerate() {
        rank[index] = at as u32;
    }
    let of_image = of_image
        .into_iter()
        .map(|index| Some(rank[index? as usize]));
    (
        order.iter().map(|&index| values[index].clone()).collect(),
        of_image.collect(),
    )
}
