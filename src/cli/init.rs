//! `prospect init`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use prospect_common::{Error, text};
use prospect_config::Config;
use prospect_queries::init::Found;
use prospect_store::write_atomically;

use super::{Global, output};

/// Write a pipeline.toml for your own images and network
///
/// Reads the names in the image folder, the table about the images if there is one (named, or metadata.csv, labels.csv and
/// their like in that folder or beside it), and the network's graph; writes DIR/pipeline.toml: every key with what it means,
/// and what was found. Nothing else is written, and no image is opened. Without --model it says how to make one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect init --images photos --model resnet50.pt2
  prospect init clothing --images ~/clothing --metadata ~/labels.csv --model models/resnet50.pt2
  prospect init --images photos --force")]
pub(super) struct InitArgs {
    /// The folder that pipeline.toml is written into; the run folder will be below it
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The folder of images
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// A CSV, TSV or Parquet file with one row per image and a column file_name; label and split are understood
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// The network, a torch.export archive (.pt2); `python jobs/export_model.py` makes one
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Replace a pipeline.toml that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn init(global: &Global, args: &InitArgs) -> anyhow::Result<u8> {
    let file = args.dir.join("pipeline.toml");
    if file.exists() && !args.force {
        return Err(Error::usage(format!(
            "{} is there already; replace it with --force, or name another folder",
            file.display()
        ))
        .into());
    }
    let found = Found::look(
        &args.dir,
        &args.images,
        args.metadata.as_deref(),
        args.model.as_deref(),
    )?;
    let date = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let text = found.written(&date);
    Config::parse(&file, &text, &[])?;
    fs::create_dir_all(&args.dir).map_err(Error::io(&args.dir, "making the folder"))?;
    write_atomically(&file, text.as_bytes())?;
    if !global.quiet {
        output::print(&page(&found, &file, args.model.is_some()))?;
    }
    Ok(0)
}

/// What was found, and what to do next.
fn page(found: &Found, file: &Path, has_model: bool) -> String {
    let mut page = String::new();
    for (name, fact) in &found.facts {
        page += &format!("{name:<10} {fact}\n");
    }
    for doubt in &found.doubts {
        page += &format!("note       {doubt}\n");
    }
    let shown = text::escaped(&file.display().to_string()).into_owned();
    page += &format!("\nwrote {shown}\n\nnext:\n");
    let with = match shown.as_str() {
        "./pipeline.toml" => String::new(),
        path => format!(" -c {}", word(path)),
    };
    let mut steps: Vec<Vec<String>> = Vec::new();
    let mut step =
        |command: String, what: &str| steps.push(vec![format!("  {command}"), what.to_string()]);
    if !has_model {
        let export = "python jobs/export_model.py torchvision:resnet50 -o resnet50.pt2";
        step(
            export.to_string(),
            "a network as a file; name it in [model] path",
        );
        step(
            format!("prospect run scan{with}"),
            "what needs no network: which files are broken?",
        );
    }
    step(format!("prospect doctor{with}"), "is everything in place?");
    step(
        format!("prospect plan{with}"),
        "what will a run do, and write?",
    );
    step(format!("prospect run{with}"), "do it");
    page + &output::columns(&steps, &[false, false])
}

/// A path as one word of a shell.
fn word(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match path.chars().all(plain) {
        true => path.to_string(),
        false => format!("'{}'", text::escaped(path).replace('\'', "'\\''")),
    }
}
