//! `prospect explain`.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use prospect_common::{Error, text};
use prospect_engine::{Context, progress::Cancel};
use prospect_model::CamMethod;
use prospect_output::picture;
use prospect_queries::subject::{Explanation, ImageExplainer};
use prospect_stages::{STAGES, scan::FileLabels};
use prospect_store::RunFolder;

use super::{Global, logging, output};

/// Maximum number of panels in a picture.
const MAX_PANELS: usize = 40;

/// Show where in an image the network looked
///
/// Reads any image files, the model, and [model], [input] and [images] of the configuration; needs no run. Writes one picture
/// per image, named after it with .explain.png: the photo, and one class activation map over it per class and method. An
/// unreadable image is reported and skipped; the exit status is then 65. Standard output gets a table of what it writes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect explain photo.jpg                          for the predicted and the labelled class
  prospect explain *.jpg --class tench --class '#7' -o explained
  prospect explain photo.jpg --layer layer3 --method gradcam --method layercam --guided")]
pub(super) struct ExplainArgs {
    /// Image files
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// A class name, or `#` and its index; repeatable. Default: the predicted class, and the label if the network knows it
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Module path of the layer. Default: the last spatial layer before the head
    #[arg(long, value_name = "LAYER")]
    layer: Option<String>,
    /// One of gradcam, cam, gradcam++, layercam, hirescam; repeatable
    #[arg(long, value_name = "METHOD", default_value = "gradcam")]
    method: Vec<CamMethod>,
    /// Add guided Grad-CAM: guided backpropagation of the class logit, times Grad-CAM
    #[arg(long)]
    guided: bool,
    /// Output folder
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn explain(global: &Global, args: &ExplainArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let progress = global.progress();
    logging::start(global, &progress, None, "explain")?;
    let run = RunFolder::at(&config.run.dir)?;
    let cancel = Cancel::default();
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let model = ctx.model()?;
    let mut methods = args.method.clone();
    methods.dedup();
    let classes = args.class.iter().map(|class| model.class_index(class));
    let classes: BTreeSet<usize> = classes.collect::<Result<_, _>>().map_err(Error::usage)?;
    let panels = classes.len().max(1) * (methods.len() + usize::from(args.guided));
    if panels > MAX_PANELS {
        return Err(Error::usage(format!(
            "{panels} panels (classes times methods) exceed the limit of {MAX_PANELS}; choose fewer classes or methods"
        ))
        .into());
    }
    let labels = FileLabels::new(&config)?;
    let explainer =
        ImageExplainer::new(&config, model, args.layer.as_deref(), &methods, args.guided)?;
    fs::create_dir_all(&args.out).map_err(Error::io(&args.out, "creating the folder"))?;

    let mut names = HashSet::new();
    let mut rows = vec![HEAD.map(String::from).to_vec()];
    let mut bad = 0;
    let bar = progress.stage("explain", args.images.len() as u64, "images");
    for file in &args.images {
        bar.advance(1);
        let label = labels.label(file)?;
        match explain_file(&explainer, file, &classes, label.as_deref())? {
            Ok(explanation) => {
                let path = args.out.join(free_name(file, &mut names));
                let png = explanation.picture(&explainer);
                let png = png.and_then(|picture| picture::png(&picture));
                let png = png.map_err(Error::from)?;
                fs::write(&path, png).map_err(Error::io(&path, "writing"))?;
                rows.extend(table_rows(file, &explanation, &explainer, &path));
            }
            Err(reason) => {
                bad += 1;
                progress.suspend(|| output::print_error(&format!("{}: {reason}", file.display())));
            }
        }
    }
    bar.finish("");
    if rows.len() > 1 {
        output::print(&output::columns(&rows, &RIGHT))?;
    }
    Ok(if bad > 0 { 65 } else { 0 })
}

/// Reads and explains one image; the inner error concerns the image.
fn explain_file(
    explainer: &ImageExplainer,
    file: &Path,
    classes: &BTreeSet<usize>,
    label: Option<&str>,
) -> anyhow::Result<Result<Explanation, String>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (image, pixels, geometry) = match explainer.decode(&bytes) {
        Ok(decoded) => decoded,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let explanation = explainer.explain(&name, image, &pixels, geometry, classes, label)?;
    Ok(Ok(explanation))
}

const HEAD: [&str; 8] = [
    "image",
    "class",
    "method",
    "logit",
    "p",
    "raw max",
    "centre x, y",
    "picture",
];
const RIGHT: [bool; 8] = [false, false, false, true, true, true, false, false];

fn table_rows(
    file: &Path,
    explanation: &Explanation,
    explainer: &ImageExplainer,
    path: &Path,
) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for class in &explanation.classes {
        for (method, map) in explainer.methods().iter().zip(&class.maps) {
            let summary = explainer.summary(map);
            let centre = match (summary.center_x, summary.center_y) {
                (Some(x), Some(y)) => format!("{x:.2}, {y:.2}"),
                _ => "none".to_string(),
            };
            rows.push(vec![
                file.display().to_string(),
                class.title(),
                method.name().to_string(),
                text::figure(class.logit.into()),
                format!("{:.3}", class.p),
                text::figure(summary.raw_max.into()),
                centre,
                path.display().to_string(),
            ]);
        }
    }
    rows
}

/// `photo.explain.png` for `photo.jpg`, then `photo-2.explain.png` for another file of the same stem.
fn free_name(file: &Path, taken: &mut HashSet<String>) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let names = (1..).map(|n| match n {
        1 => format!("{stem}.explain.png"),
        n => format!("{stem}-{n}.explain.png"),
    });
    let mut free = names.filter(|name| taken.insert(name.clone()));
    free.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_equal_stems_have_different_names() {
        let mut taken = HashSet::new();
        let mut name = |file: &str| free_name(Path::new(file), &mut taken);
        assert_eq!(name("a/cat.jpg"), "cat.explain.png");
        assert_eq!(name("cat-2.png"), "cat-2.explain.png");
        assert_eq!(name("b/cat.png"), "cat-3.explain.png");
        assert_eq!(name("b/cat.png"), "cat-4.explain.png");
        assert_eq!(name("x.tar.jpg"), "x.tar.explain.png");
    }
}
