//! `prospect init`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use prospect_common::{Error, text};
use prospect_config::Config;
use prospect_queries::init::Draft;
use prospect_store::write_atomically;

use super::{Global, output};

/// Write a pipeline.toml for your own images and network
///
/// Reads the file names in the image folder, the metadata table if there is one (--metadata, or a file such as metadata.csv or
/// labels.csv in the folder or its parent), and the network's graph; writes only DIR/pipeline.toml, with every key explained
/// and set to the detected value. Opens no image. Without --model, it prints how to export one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect init --images photos --model resnet50.pt2
  prospect init clothing --images ~/clothing --metadata ~/labels.csv --model models/resnet50.pt2
  prospect init --images photos --force")]
pub(super) struct InitArgs {
    /// Folder for pipeline.toml and, later, the run folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Image folder
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// CSV, TSV or Parquet file with one row per image and a column file_name; columns label and split are recognised
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// The network as a torch.export archive (.pt2), as written by `python jobs/export_model.py`
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Replace an existing pipeline.toml
    #[arg(long)]
    force: bool,
}

pub(super) fn init(global: &Global, args: &InitArgs) -> anyhow::Result<u8> {
    let file = args.dir.join("pipeline.toml");
    if file.exists() && !args.force {
        return Err(Error::usage(format!(
            "{} already exists; replace it with --force, or choose another folder",
            file.display()
        ))
        .into());
    }
    let draft = Draft::inspect(
        &args.dir,
        &args.images,
        args.metadata.as_deref(),
        args.model.as_deref(),
    )?;
    let date = chrono::Utc::now().format("%Y-%m-%d").to_string();
    let text = draft.to_toml(&date);
    Config::parse(&file, &text, &[])?;
    fs::create_dir_all(&args.dir).map_err(Error::io(&args.dir, "creating the folder"))?;
    write_atomically(&file, text.as_bytes())?;
    if !global.quiet {
        output::print(&page(&draft, &file, args.model.is_some()))?;
    }
    Ok(0)
}

/// The facts and warnings of the draft, and the next steps.
fn page(draft: &Draft, file: &Path, has_model: bool) -> String {
    let mut page = String::new();
    for (name, fact) in &draft.facts {
        page += &format!("{name:<10} {fact}\n");
    }
    for warning in &draft.warnings {
        page += &format!("note       {warning}\n");
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
            "export a network; set [model] path to it",
        );
        step(
            format!("prospect run scan{with}"),
            "find unreadable files; needs no network",
        );
    }
    step(
        format!("prospect doctor{with}"),
        "check that everything is in place",
    );
    step(
        format!("prospect plan{with}"),
        "show what a run will do and write",
    );
    step(format!("prospect run{with}"), "run it");
    page + &output::columns(&steps, &[false, false])
}

/// A path quoted for the shell.
fn word(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match path.chars().all(plain) {
        true => path.to_string(),
        false => format!("'{}'", text::escaped(path).replace('\'', "'\\''")),
    }
}
