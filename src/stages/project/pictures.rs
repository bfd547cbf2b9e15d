//! Scatter plots of a map, coloured by label, prediction and correctness.

use prospect_common::{Error, Result, text as words};
use prospect_config::ProjectionMethod;
use prospect_engine::{Context, tables::classes::ClassNames};
use prospect_output::picture::{
    PictureError,
    scatter::{Colouring, Scatter, scatter_png, scatter_svg},
};
use prospect_store::{Manifest, PartWriter, RunFolder};

use super::tables::Map;

/// A way to colour the points of every map.
pub struct PointGroups {
    by: &'static str,
    unknown: &'static str,
    /// Index into `names` of each point.
    groups: Vec<Option<u32>>,
    names: Vec<String>,
    colouring: Colouring,
}

/// Colourings by label, prediction and correctness; those without any coloured point are left out.
pub fn colourings(
    run: &RunFolder,
    manifest: &Manifest,
    image_ids: &[u32],
) -> Result<Vec<PointGroups>> {
    let known = ClassNames::read(run, manifest)?;
    let classes = known.of_images(run, manifest, image_ids)?;
    let mut all = vec![
        PointGroups {
            by: "label",
            unknown: "no label",
            groups: classes.labels,
            names: classes.names.clone(),
            colouring: Colouring::Groups,
        },
        PointGroups {
            by: "prediction",
            unknown: "no prediction",
            groups: classes.predictions,
            names: classes.names,
            colouring: Colouring::Groups,
        },
        PointGroups {
            by: "correctness",
            unknown: "no label known to the network",
            groups: (classes.right.iter())
                .map(|right| right.map(|right| u32::from(!right)))
                .collect(),
            names: vec!["right".into(), "wrong".into()],
            colouring: Colouring::Correctness,
        },
    ];
    all.retain(|coloured| coloured.groups.iter().any(Option::is_some));
    Ok(all)
}

/// Draws a map in each colouring, as PNG and SVG. `axes`: names of the axes, if any.
pub fn draw(
    ctx: &Context,
    (method, map): (ProjectionMethod, &Map),
    axes: Option<[&str; 2]>,
    remark: &str,
    colourings: &[PointGroups],
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
        let undrawable = |error: PictureError| Error::internal(&path, error);
        let png = scatter_png(&scatter).map_err(undrawable)?;
        files.file(&format!("{path}.png"), &png)?;
        let svg = scatter_svg(&scatter).map_err(undrawable)?;
        files.file(&format!("{path}.svg"), svg.as_bytes())?;
    }
    Ok(())
}

/// Display name of a method.
pub fn title(method: ProjectionMethod) -> &'static str {
    match method {
        ProjectionMethod::Pca => "PCA",
        ProjectionMethod::Tsne => "t-SNE",
        ProjectionMethod::Umap => "UMAP",
        ProjectionMethod::PcaLinfa => "PCA (linfa)",
        ProjectionMethod::TsneLinfa => "t-SNE (linfa)",
    }
}
