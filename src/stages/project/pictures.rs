//! Scatters of a map, coloured by what is known of the images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    super::{
        Context,
        classes::{ClassNames, labels, name_of},
        columns::{Columns, integer},
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
    let labels = labels(run, manifest)?;
    let predictions = read_predictions(run, manifest)?;
    let known = ClassNames::read(run, manifest)?;
    let network = known.network_of_dataset();
    // One list for both, so that a class has one colour.
    let mut names = Vec::new();
    let (mut of_label, mut of_class) = (BTreeMap::new(), BTreeMap::new());
    let present: BTreeSet<i32> = labels.iter().flatten().copied().collect();
    for label in present {
        let group = names.len() as u32;
        names.push(name_of(&known.dataset, label));
        of_label.insert(label, group);
        if let Some(class) = network.get(&label) {
            of_class.insert(*class, group);
        }
    }
    let predicted: BTreeSet<i32> = predictions.values().copied().collect();
    for class in predicted {
        of_class.entry(class).or_insert_with(|| {
            names.push(name_of(&known.network, class));
            names.len() as u32 - 1
        });
    }
    let label_of = |id: &u32| labels.get(*id as usize).copied().flatten();
    let label = |id: &u32| of_label.get(&label_of(id)?).copied();
    let prediction = |id: &u32| of_class.get(predictions.get(id)?).copied();
    let correctness = |id: &u32| {
        let class = network.get(&label_of(id)?)?;
        Some(u32::from(predictions.get(id)? != class))
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

/// The predicted class of each image.
fn read_predictions(run: &RunFolder, manifest: &Manifest) -> Result<HashMap<u32, i32>> {
    let mut found = HashMap::new();
    let rows = run.read(manifest, "predictions");
    for batch in rows.columns(&["image_id", "pred"]) {
        let batch = batch?;
        let columns = Columns::of(run, "predictions", &batch);
        let classes = columns.integers("pred")?;
        for (row, id) in columns.image_ids()?.into_iter().enumerate() {
            let class = integer(&classes, row).and_then(|class| i32::try_from(class).ok());
            found.extend(class.map(|class| (id, class)));
        }
    }
    Ok(found)
}
