//! `prospect model inspect` and `prospect model weights`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use prospect_common::Error;
use prospect_model::inspect::{self, FirstFilters, ModuleRow, ReceptiveField};
use prospect_output::picture::{filter_grid, png};
use prospect_store as store;
use serde_json::json;

use super::output;

/// Inspect a model file
///
/// Reads a torch.export archive (.pt2) and its JSON sidecar without running it; writes a table of its modules (inspect), or
/// the filters of its first convolution as pictures and a table (weights).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect model inspect resnet50.pt2
  prospect model weights resnet50.pt2 --out filters")]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Show modules (path, kind, output shape, receptive field, parameters) and the default layers
    ///
    /// Reads a model file and its JSON sidecar; writes the table to standard output. Receptive fields are size/stride@start
    /// in pixels of the network's input; `all` means that a cell may see the whole image. Use the module paths in
    /// [extract] layers and [explain] layers.
    #[command(after_help = "\
Examples:
  prospect model inspect resnet50.pt2
  prospect model inspect resnet50.pt2 --json")]
    Inspect {
        /// A torch.export archive (.pt2)
        file: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write the first convolution's filters: two pictures and a table of the raw values
    ///
    /// Reads a model file; writes three files into DIR. filters.png scales every filter to its own minimum and maximum;
    /// filters-signed.png shows negative weights in blue, zero in white and positive weights in red; filters.parquet has
    /// the raw values (filter, channel, row, col, weight).
    #[command(after_help = "\
Examples:
  prospect model weights resnet50.pt2
  prospect model weights resnet50.pt2 --out filters")]
    Weights {
        /// A torch.export archive (.pt2)
        file: PathBuf,
        /// Output folder
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
}

pub(super) fn model(args: &ModelArgs) -> anyhow::Result<u8> {
    match &args.command {
        ModelCommand::Inspect { file, json } => show(file, *json),
        ModelCommand::Weights { file, out } => weights(file, out),
    }
}

fn show(file: &Path, json: bool) -> anyhow::Result<u8> {
    let info = prospect_config::open_model(file, None)?;
    let modules = info.modules();
    let defaults = inspect::defaults(&info);
    let (height, width) = info.graph.input_size();
    if json {
        output::print_json(&json!({
            "file": inspect::file_name(file),
            "digest": info.digest,
            "input": [3, height, width],
            "classes": info.graph.n_classes(),
            "modules": modules,
            "defaults": defaults,
        }))?;
        return Ok(0);
    }
    let head = ["module", "kind", "output", "receptive field", "parameters"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(modules.iter().map(row));
    let mut page = format!(
        "{}: {} operators, input 3x{height}x{width}, {} classes\n\n",
        inspect::file_name(file),
        info.graph.nodes.len(),
        info.graph.n_classes()
    );
    page += &output::columns(&rows, &[false, false, false, false, true]);
    page += "\n";
    page += &defaults.join("\n");
    output::print(&page)?;
    Ok(0)
}

fn row(module: &ModuleRow) -> Vec<String> {
    let field = module.receptive_field.map_or("all".into(), field_text);
    vec![
        module.module.clone(),
        module.kind.clone(),
        module.shape.clone(),
        field,
        module.parameters.to_string(),
    ]
}

/// `43/8@-18`, or both axes if they differ.
fn field_text(field: ReceptiveField) -> String {
    let axis = |axis: usize| {
        format!(
            "{}/{}@{}",
            field.size[axis], field.stride[axis], field.start[axis]
        )
    };
    if axis(0) == axis(1) {
        axis(0)
    } else {
        format!("{} by {}", axis(0), axis(1))
    }
}

fn weights(file: &Path, out: &Path) -> anyhow::Result<u8> {
    let info = prospect_config::open_model(file, None)?;
    let filters = info.first_filters()?;
    fs::create_dir_all(out).map_err(Error::io(out, "creating the folder"))?;
    let mut written = Vec::new();
    for (name, signed) in [("filters.png", false), ("filters-signed.png", true)] {
        let picture = filter_grid(&filters.values, filters.shape, signed)
            .and_then(|picture| png(&picture))
            .map_err(|error| {
                Error::invalid(
                    file,
                    format!("{} with drawable filters", filters.name),
                    error.to_string(),
                    "choose another network",
                )
            })?;
        let path = out.join(name);
        fs::write(&path, picture).map_err(Error::io(&path, "writing"))?;
        written.push(path);
    }
    let path = out.join("filters.parquet");
    store::write_table(&path, &table(&filters)?)?;
    written.push(path);
    let [n, channels, height, width] = filters.shape;
    let mut page = format!(
        "{}: {n} filters of {channels}x{height}x{width}\n",
        filters.name
    );
    for path in written {
        page += &format!("wrote {}\n", path.display());
    }
    output::print(&page)?;
    Ok(0)
}

/// One row per weight.
fn table(filters: &FirstFilters) -> anyhow::Result<arrow::array::RecordBatch> {
    use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch};
    use std::sync::Arc;
    let [_, channels, height, width] = filters.shape;
    let place = |divide: usize, modulo: usize| -> ArrayRef {
        let values = (0..filters.values.len()).map(|index| (index / divide % modulo) as i32);
        Arc::new(Int32Array::from_iter_values(values))
    };
    Ok(RecordBatch::try_from_iter([
        ("filter", place(channels * height * width, usize::MAX)),
        ("channel", place(height * width, channels)),
        ("row", place(width, height)),
        ("col", place(1, width)),
        (
            "weight",
            Arc::new(Float32Array::from(filters.values.clone())),
        ),
    ])?)
}
