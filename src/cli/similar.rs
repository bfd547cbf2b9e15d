//! `prospect similar`.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use prospect_common::{Error, spreadsheet, text};
use prospect_config::SearchMethod;
use prospect_engine::{Context, progress::Cancel};
use prospect_queries::similar::{
    Answer, ImageInfo, Method, Request, Share, Similar, draw_sheets, similar,
};
use prospect_stages::STAGES;
use prospect_store::RunFolder;
use serde::Serialize;

use super::{Global, logging, output};

/// Default contact sheet with a table.
const SHEET: &str = "similar.png";

/// Find the images most similar to an image
///
/// Reads the run folder's tables and the images shown; for a file outside the run also the model, which must be the run's.
/// Prints the nearest images of the run with labels, predicted classes and distances in the run's feature space; writes a
/// contact sheet with the query on the left and its neighbours on the right. An image of the run is not its own neighbour,
/// but its duplicates are. A query that fails is reported and skipped; the exit status is then 65.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect similar cats/7.jpg '#123'                  two images of the run
  prospect similar ~/new/*.jpg -k 5 -o new.png        files outside the run
  prospect similar '#123' -k 50 --format csv > near.csv")]
pub(super) struct SimilarArgs {
    /// A path in the image folder, `#` and an image id, or any image file (`./NAME` if the image folder has the same path)
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Neighbours per image
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: u16,
    /// Search exactly, among all images
    #[arg(long)]
    exact: bool,
    /// Search the run's index, which is approximate. Default: the run's neighbour graph if it has N neighbours, else the
    /// faster of the two searches
    #[arg(long, conflicts_with = "exact")]
    index: bool,
    /// Contact sheet. Default: similar.png with a table, none with csv and json
    #[arg(short, long, value_name = "SHEET.png")]
    out: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Aligned text
    Table,
    /// Comma-separated, with a header
    Csv,
    /// One JSON object
    Json,
}

/// Output of `--format json`.
#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    similar: &'a Similar,
    /// The files written.
    sheets: Vec<String>,
}

pub(super) fn run(global: &Global, args: &SimilarArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    let progress = global.progress();
    logging::start(global, &progress, None, "similar")?;
    let cancel = Cancel::default();
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let request = Request {
        images: &args.images,
        k: args.k.into(),
        method: match (args.exact, args.index) {
            (true, _) => SearchMethod::Exact,
            (_, true) => SearchMethod::Hnsw,
            _ => SearchMethod::Auto,
        },
    };
    let similar = similar(&ctx, &request)?;
    for refused in &similar.refused {
        output::print_error(&format!("{}: {}", refused.image, refused.reason));
    }
    match args.format {
        Format::Table if !similar.answers.is_empty() => output::print(&page(&similar))?,
        Format::Table | Format::Json => {}
        Format::Csv => csv(&similar)?,
    }
    let out = args.out.as_deref();
    let out = out.or((args.format == Format::Table).then_some(Path::new(SHEET)));
    let sheets = match out {
        Some(out) => write_sheets(&ctx, &similar, out)?,
        None => Vec::new(),
    };
    let written: Vec<String> = (sheets.iter())
        .map(|path| path.display().to_string())
        .collect();
    match args.format {
        Format::Json => output::print_json(&Output {
            similar: &similar,
            sheets: written,
        })?,
        // Standard output is for the rows only.
        Format::Csv => written
            .iter()
            .for_each(|path| output::print_note(&format!("wrote {path}"))),
        Format::Table if !written.is_empty() => {
            output::print(&format!("wrote {}", written.join(", ")))?;
        }
        Format::Table => {}
    }
    Ok(if similar.refused.is_empty() { 0 } else { 65 })
}

/// Writes `similar.png`, and further sheets `similar-2.png`, ….
fn write_sheets(ctx: &Context, similar: &Similar, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if let Some(folder) = out.parent().filter(|_| !similar.answers.is_empty()) {
        fs::create_dir_all(folder).map_err(Error::io(folder, "creating the folder"))?;
    }
    draw_sheets(ctx, similar, |at, png| {
        let path = output::numbered(out, at);
        fs::write(&path, png).map_err(Error::io(&path, "writing"))?;
        written.push(path);
        Ok(())
    })?;
    Ok(written)
}

const HEAD: [&str; 6] = ["rank", "image", "id", "label", "predicted", "distance"];
const RIGHT: [bool; 6] = [true, false, true, false, false, true];

fn page(similar: &Similar) -> String {
    let mut page = format!(
        "{} distance of {} among {}\n",
        similar.metric.name(),
        text::escaped(&similar.feature_layer),
        text::counted(similar.images, "image")
    );
    for answer in &similar.answers {
        page += &format!("\n{}\n", text::escaped(&title(&answer.query)));
        let mut rows = vec![HEAD.map(String::from).to_vec()];
        rows.extend(answer.neighbors.iter().map(|hit| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let about = if hit.exact { "" } else { "~" };
            vec![
                hit.rank.to_string(),
                hit.image.path.clone(),
                (hit.image.image_id).map_or("-".into(), |id| format!("#{id}")),
                or_dash(&hit.image.label),
                or_dash(&hit.image.predicted),
                format!("{about}{}", text::figure(hit.distance.into())),
            ]
        }));
        page += &output::columns(&rows, &RIGHT);
        page += &format!("{}\n", conclusion(answer));
    }
    page
}

/// `cats/7.jpg (#7), label cat, predicted lynx`.
fn title(query: &ImageInfo) -> String {
    let id = match query.image_id {
        Some(id) => format!(" (#{id})"),
        None => " (outside the run)".to_string(),
    };
    let label = (query.label.as_ref()).map_or("no label".into(), |name| format!("label {name}"));
    let predicted = (query.predicted.as_ref()).map(|name| format!(", predicted {name}"));
    format!(
        "{}{id}, {label}{}",
        query.path,
        predicted.unwrap_or_default()
    )
}

/// `7 of 10 share its label, 8 of 10 its predicted class; from the run's neighbour graph`.
fn conclusion(answer: &Answer) -> String {
    let shares = [
        (answer.same_label, "label"),
        (answer.same_prediction, "predicted class"),
    ];
    let shares: Vec<String> = (shares.iter())
        .filter_map(|(share, what)| share.map(|Share { n, of }| (n, of, what)))
        .enumerate()
        .map(|(at, (n, of, what))| {
            let verb = if at == 0 { " share" } else { "" };
            format!("{n} of {of}{verb} its {what}")
        })
        .collect();
    let method = match answer.method {
        Method::StoredGraph => "from the run's neighbour graph",
        Method::Index => "by the run's index (approximate)",
        Method::ExactSearch => "by exact search",
    };
    match shares.is_empty() {
        true => method.to_string(),
        false => format!("{}; {method}", shares.join(", ")),
    }
}

fn csv(similar: &Similar) -> anyhow::Result<()> {
    // Control characters are escaped on a terminal only; files and other programs get raw text.
    let safe = io::stdout().is_terminal();
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "query",
        "query_id",
        "query_label",
        "query_predicted",
        "rank",
        "image",
        "image_id",
        "label",
        "predicted",
        "distance",
        "exact",
    ])?;
    let id = |image: &ImageInfo| image.image_id.map_or(String::new(), |id| id.to_string());
    let shown = |text: &str| {
        let cell = spreadsheet::cell(text);
        match safe {
            true => text::escaped(&cell).into_owned(),
            false => cell.into_owned(),
        }
    };
    let or_empty = |text: &Option<String>| text.as_deref().map_or(String::new(), shown);
    for answer in &similar.answers {
        let query = &answer.query;
        for hit in &answer.neighbors {
            out.write_record([
                shown(&query.path),
                id(query),
                or_empty(&query.label),
                or_empty(&query.predicted),
                hit.rank.to_string(),
                shown(&hit.image.path),
                id(&hit.image),
                or_empty(&hit.image.label),
                or_empty(&hit.image.predicted),
                hit.distance.to_string(),
                hit.exact.to_string(),
            ])?;
        }
    }
    let bytes = out.into_inner()?;
    let mut out = io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conclusion_states_agreement_and_method() {
        let mut answer = Answer {
            query: ImageInfo {
                image_id: Some(7),
                path: "cats/7.jpg".into(),
                label: Some("cat".into()),
                predicted: None,
            },
            method: Method::StoredGraph,
            same_label: Some(Share { n: 7, of: 10 }),
            same_prediction: Some(Share { n: 8, of: 10 }),
            neighbors: Vec::new(),
        };
        assert_eq!(
            conclusion(&answer),
            "7 of 10 share its label, 8 of 10 its predicted class; from the run's neighbour graph"
        );
        answer.same_label = None;
        answer.method = Method::ExactSearch;
        assert_eq!(
            conclusion(&answer),
            "8 of 10 share its predicted class; by exact search"
        );
        answer.same_prediction = None;
        assert_eq!(conclusion(&answer), "by exact search");
        assert_eq!(title(&answer.query), "cats/7.jpg (#7), label cat");
    }
}
