//! Scatters of a map, coloured by what is known of the images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    super::{
        Context,
        columns::{Columns, integer, number, text},
    },
    tables::Map,
};
use crate::{
    config::ProjectionMethod,
    error::{Error, Result},
    picture::{
        PictureError,
        scatter::{Colouring, Scatter, scatter_png, scatter_svg},
    },
    store::{Manifest, PartWriter, RunFolder},
    text as words,
};

/// A way to colour the points of every map.
pub struct Coloured {
    by: &'static str,
    unknown: &'static str,
    /// Of each point, an index into `names`.
    groups: Vec<Option<u32>>,
    names: Vec<String>,
    colouring: Colouring,
}

/// By label and by correctness, where there are labels (that the network knows), and by prediction.
pub fn colourings(
    run: &RunFolder,
    manifest: &Manifest,
    image_ids: &[u32],
) -> Result<Vec<Coloured>> {
    let labels = read_labels(run, manifest)?;
    let classes = read_classes(run, manifest)?;
    let predictions = read_predictions(run, manifest)?;
    // One list for both, so that a class has one colour; by names, because the dataset and the network number their classes
    // each in their own way.
    let present: BTreeMap<i64, &str> = (labels.values())
        .map(|(label, name)| (*label, name.as_str()))
        .collect();
    let predicted: BTreeSet<i64> = predictions.values().map(|(class, _)| *class).collect();
    let class_name = |class: &i64| classes.get(class).cloned().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    let mut index: HashMap<String, u32> = HashMap::new();
    let from_labels = present.values().map(|name| name.to_string());
    for name in from_labels.chain(predicted.iter().map(class_name)) {
        index.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() as u32 - 1
        });
    }
    let label = |id: &u32| index.get(&labels.get(id)?.1).copied();
    let prediction = |id: &u32| index.get(&class_name(&predictions.get(id)?.0)).copied();
    let correctness = |id: &u32| {
        let (_, is_judged) = predictions.get(id)?;
        is_judged.then(|| u32::from(label(id) != prediction(id)))
    };
    let of = |group: &dyn Fn(&u32) -> Option<u32>| image_ids.iter().map(group).collect();
    let mut all = vec![
        Coloured {
            by: "label",
            unknown: "no label",
            groups: of(&label),
            names: names.clone(),
            colouring: Colouring::Groups,
        },
        Coloured {
            by: "prediction",
            unknown: "no prediction",
            groups: of(&prediction),
            names,
            colouring: Colouring::Groups,
        },
        Coloured {
            by: "correctness",
            unknown: "no label that the network knows",
            groups: of(&correctness),
            names: vec!["right".into(), "wrong".into()],
            colouring: Colouring::Correctness,
        },
    ];
    all.retain(|coloured| coloured.groups.iter().any(Option::is_some));
    Ok(all)
}

/// Draws a map once for each colouring, as PNG and as SVG. `axes`: names of the axes, where they mean something.
pub fn draw(
    ctx: &Context,
    (method, map): (ProjectionMethod, &Map),
    axes: Option<[&str; 2]>,
    remark: &str,
    colourings: &[Coloured],
    files: &mut PartWriter,
) -> Result<()> {
    let (points, _) = map.xy.as_chunks::<2>();
    let images = words::count(points.len() as u64);
    for coloured in colourings {
        ctx.cancel.check()?;
        let scatter = Scatter {
            title: &format!("{} of {images} images, by {}", title(method), coloured.by),
            subtitle: remark,
            points,
            groups: &coloured.groups,
            names: &coloured.names,
            by: coloured.by,
            unknown: coloured.unknown,
            axes,
            colouring: coloured.colouring,
        };
        let path = format!("pictures/project/{}-by-{}", method.name(), coloured.by);
        let undrawable = |error: PictureError| {
            Error::invalid(
                ctx.run.path(&path),
                "a map that can be drawn",
                error.to_string(),
                "please report this mistake of prospect's",
            )
        };
        let png = scatter_png(&scatter).map_err(undrawable)?;
        files.file(&format!("{path}.png"), &png)?;
        let svg = scatter_svg(&scatter).map_err(undrawable)?;
        files.file(&format!("{path}.svg"), svg.as_bytes())?;
    }
    Ok(())
}

fn title(method: ProjectionMethod) -> &'static str {
    match method {
        ProjectionMethod::Pca => "PCA",
        ProjectionMethod::Tsne => "t-SNE",
        ProjectionMethod::Umap => "UMAP",
        ProjectionMethod::PcaLinfa => "PCA (linfa)",
        ProjectionMethod::TsneLinfa => "t-SNE (linfa)",
    }
}

/// The label of each labelled image, with its name.
fn read_labels(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<u32, (i64, String)>> {
    let mut found = HashMap::new();
    let columns = ["image_id", "label", "label_name"];
    for batch in run.read(manifest, "images").columns(&columns) {
        let batch = batch?;
        let columns = Columns::of(run, "images", &batch);
        let (labels, names) = (columns.integers("label")?, columns.texts("label_name")?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if let (Some(label), Some(name)) = (integer(&labels, row), text(&names, row)) {
                found.insert(id, (label, name.to_string()));
            }
        }
    }
    Ok(found)
}

/// The network's names of its classes.
fn read_classes(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<i64, String>> {
    let mut found = HashMap::new();
    for batch in run.read(manifest, "classes").only("source", "model") {
        let batch = batch?;
        let columns = Columns::of(run, "classes", &batch);
        let (classes, names) = (columns.integers("class")?, columns.texts("name")?);
        for row in 0..batch.num_rows() {
            if let (Some(class), Some(name)) = (integer(&classes, row), text(&names, row)) {
                found.insert(class, name.to_string());
            }
        }
    }
    Ok(found)
}

/// The predicted class of each image, and whether the network knows the image's label.
fn read_predictions(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<u32, (i64, bool)>> {
    let mut found = HashMap::new();
    let rows = run.read(manifest, "predictions");
    for batch in rows.columns(&["image_id", "pred", "p_label"]) {
        let batch = batch?;
        let columns = Columns::of(run, "predictions", &batch);
        let (classes, of_label) = (columns.integers("pred")?, columns.numbers("p_label")?);
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            if let Some(class) = integer(&classes, row) {
                found.insert(id, (class, number(&of_label, row).is_some()));
            }
        }
    }
    Ok(found)
}
