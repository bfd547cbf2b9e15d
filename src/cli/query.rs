//! `prospect query`.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use prospect_common::{
    Complaint, Complaints, Error,
    text::{self, did_you_mean},
};
use prospect_engine::{Context, progress::Cancel, schema::changes};
use prospect_output::picture::cards;
use prospect_queries::{
    answer::draw_answer,
    audits::{Audit, Bound, Catalog, is_name},
};
use prospect_stages::{STAGES, writer_of};
use prospect_store::{self as store, RunFolder};

use super::{Global, logging, output};

/// A project's own queries, relative to its configuration.
const FOLDER: &str = "jobs/audits";

/// Query the tables, by a query's name or in SQL
///
/// Reads the tables of the run folder; writes the result to standard output. Tables have the names that `prospect status`
/// shows. Table attributes has one row per image and metadata value (split, text, booleans and integers). A named query
/// is a SQL file with its parameters in the header. Queries in jobs/audits next to the configuration take precedence over
/// the built-in ones. All run unchanged in DuckDB.
///
/// SQL may also read other Parquet files that you can read, as read_parquet('FILE'): run statements of people you do not trust
/// with --tables-only. In CSV, text that a spreadsheet would take for a formula has an apostrophe before it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect query --list
  prospect query confident_contradictions -p class=horse -p rows=20 --sheet horses.png
  prospect query --show leaks
  prospect query leaks --format parquet --output leaks.parquet
  prospect query \"select path, error from images where error is not null\"
  prospect query --format csv \"select * from layers\" > layers.csv
  prospect query - < audit.sql
  prospect query --views > run.sql && duckdb -init run.sql")]
pub(super) struct QueryArgs {
    /// Name of a query, or SQL; `-` reads SQL from standard input
    #[arg(value_name = "NAME|SQL", required_unless_present_any = ["list", "show", "views"])]
    query: Option<String>,
    /// Set a parameter of the query; repeatable
    #[arg(short, long = "param", value_name = "NAME=VALUE", requires = "query")]
    params: Vec<String>,
    /// Output format. Default: table
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE", requires = "query")]
    output: Option<PathBuf>,
    /// Also draw a contact sheet of the images in column image_id or path, next to those in other_id or other_path
    #[arg(long, value_name = "SHEET.png", requires = "query")]
    sheet: Option<PathBuf>,
    /// Read the run's tables only: refuse statements with read_parquet and the like
    #[arg(long, requires = "query")]
    tables_only: bool,
    /// A folder of named queries (NAME.sql), which take precedence over the built-in ones. Default: jobs/audits next to the
    /// configuration, if it exists
    #[arg(long, value_name = "DIR")]
    audits: Option<PathBuf>,
    /// List the named queries with their questions (and, with --format json, their parameters)
    #[arg(long, conflicts_with_all = ["query", "show", "views"])]
    list: bool,
    /// Print a named query: its question, explanation, parameters and SQL
    #[arg(long, value_name = "NAME", conflicts_with_all = ["query", "views"])]
    show: Option<String>,
    /// Print DuckDB statements that create views of the run's current tables
    #[arg(long, conflicts_with = "query")]
    views: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// Aligned text
    Table,
    /// Comma-separated, with a header
    Csv,
    /// An array of JSON objects
    Json,
    /// One JSON object per line
    Jsonl,
    /// Apache Parquet; needs --output
    Parquet,
}

pub(super) fn query(global: &Global, args: &QueryArgs) -> anyhow::Result<u8> {
    let catalog = Catalog::new(args.audits.clone().or_else(|| {
        let folder = global.config.parent().unwrap_or(Path::new("")).join(FOLDER);
        folder.is_dir().then_some(folder)
    }));
    if args.list {
        return list(&catalog, args.format);
    }
    if let Some(name) = &args.show {
        output::print(&catalog.find(name)?.text)?;
        return Ok(0);
    }
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    if args.views {
        write!(io::stdout(), "{}", store::views(&run)?)?;
        return Ok(0);
    }
    let format = args.format.unwrap_or(Format::Table);
    if format == Format::Parquet && args.output.is_none() {
        return Err(Error::usage("--format parquet needs --output FILE").into());
    }
    let audit = find_audit(&catalog, args.query.as_deref().unwrap_or_default())?;
    let bound = audit.bind(&args.params)?;
    check_tables(&run, &audit)?;
    check_classes(&run, &bound)?;
    if args.tables_only {
        store::check_tables_only(&bound.sql)?;
    }
    let frame = store::query(&run, &bound.sql)?;
    let format = match format {
        Format::Table => store::Format::Table,
        Format::Csv => store::Format::Csv,
        Format::Json => store::Format::Json,
        Format::Jsonl => store::Format::JsonLines,
        Format::Parquet => store::Format::Parquet,
    };
    match &args.output {
        Some(path) => {
            store::save(&frame, format, path)?;
            let rows = text::counted(frame.height() as u64, "row");
            output::print_note(&format!("wrote {rows} to {}", path.display()));
        }
        None => {
            // Control characters are escaped on a terminal only; files and other programs get raw text.
            let terminal_width = io::stdout()
                .is_terminal()
                .then(|| usize::from(console::Term::stdout().size().1));
            let mut out = BufWriter::new(io::stdout().lock());
            match store::render_to(&frame, format, terminal_width, &mut out) {
                // Only standard output is written here. The bare I/O error lets `report` recognise a closed pipe.
                Err(Error::Io { source, .. }) => return Err(source.into()),
                other => other?,
            }
            out.flush()?;
        }
    }
    if let Some(sheet) = &args.sheet {
        let progress = global.progress();
        logging::start(global, &progress, None, "query")?;
        let cancel = Cancel::default();
        let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
        let title = [&*audit.title]
            .into_iter()
            .chain(args.params.iter().map(String::as_str));
        let title = title.collect::<Vec<_>>().join("   ");
        let shown = store::cells(&frame, cards::MAX_CARDS)?;
        draw(&ctx, &title, &shown, frame.height(), sheet)?;
    }
    Ok(0)
}

/// The query of this name, or an ad-hoc statement.
fn find_audit(catalog: &Catalog, query: &str) -> anyhow::Result<Audit> {
    if is_name(query) {
        return Ok(catalog.find(query)?);
    }
    let mut sql = query.to_string();
    if query == "-" {
        sql.clear();
        io::stdin().read_to_string(&mut sql)?;
    }
    Ok(Audit::parse("", &sql).map_err(|problems| Error::usage(problems.join("\n")))?)
}

fn list(catalog: &Catalog, format: Option<Format>) -> anyhow::Result<u8> {
    let names = catalog.names()?;
    let found = names.iter().map(|name| (name, catalog.find(name)));
    match format {
        None | Some(Format::Table) => {
            let rows = found.map(|(name, audit)| {
                let about =
                    audit.map_or_else(|error| format!("(invalid: {error})"), |audit| audit.title);
                vec![name.clone(), about]
            });
            let list = output::columns(&rows.collect::<Vec<_>>(), &[]);
            output::print(&format!(
                "{list}\n{}\n",
                output::with_kinds("kinds of findings")
            ))?;
        }
        Some(Format::Json) => {
            let audits = found
                .map(|(_, audit)| audit)
                .collect::<Result<Vec<_>, _>>()?;
            output::print_json(&audits)?;
        }
        Some(_) => {
            return Err(Error::usage("--list supports only --format table and json").into());
        }
    }
    Ok(0)
}

/// Names missing tables of the query with the stages that write them.
fn check_tables(run: &RunFolder, audit: &Audit) -> Result<(), Error> {
    let manifest = run.manifest()?;
    let tables = run.tables(&manifest);
    let has = |table: &str| tables.iter().any(|known| known == table);
    let missing: Vec<&str> = (audit.needs.iter().map(String::as_str))
        .filter(|table| !(has(table) || store::derived_from(table).is_some_and(has)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut stages: Vec<&str> = Vec::new();
    let mut done = Vec::new();
    for table in &missing {
        let Some(stage) = writer_of(table).map(|stage| stage.name) else {
            continue;
        };
        if !stages.contains(&stage) {
            stages.push(stage);
        }
        let record = manifest.stages.get(stage);
        if record.is_some_and(|record| record.complete) {
            done.push(match *table {
                changes::NAME => {
                    "changes is written only if [run] previous names an earlier run's folder".into()
                }
                table => format!("stage {stage} wrote no {table}: check its settings"),
            });
        }
    }
    let next = match (stages.is_empty(), done.is_empty()) {
        (true, _) => "no stage of this version writes it".to_string(),
        (_, false) => done.join("; "),
        _ => format!("create it with `prospect run {}`", stages.join(" ")),
    };
    Err(Error::Missing {
        what: format!(
            "table {}, needed by query {},",
            missing.join(", "),
            audit.name
        ),
        next,
    })
}

/// An unknown class would give an empty result, which looks like a clean class.
fn check_classes(run: &RunFolder, bound: &Bound) -> Result<(), Error> {
    if bound.classes.is_empty() {
        return Ok(());
    }
    let names = store::query(run, "select distinct name from classes order by name")?;
    let names = store::cells(&names, usize::MAX)?.rows.into_iter().flatten();
    let names: Vec<String> = names.flatten().collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let unknown = (bound.classes.iter()).filter(|(_, class)| !names.contains(&class.as_str()));
    let complaints: Complaints = unknown
        .map(|(parameter, class)| {
            let near = did_you_mean(class, &names);
            Complaint::new(format!(
                "-p {parameter}: unknown class {class:?}{near}; the classes are {}",
                text::shortened(&names.join(", "), 400)
            ))
        })
        .collect();
    complaints.into_result()
}

/// Writes the sheets and warns of images missing from them.
fn draw(
    ctx: &Context,
    title: &str,
    answer: &store::Cells,
    of: usize,
    out: &Path,
) -> anyhow::Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder, "creating the folder"))?;
    }
    let mut written = Vec::new();
    let missing = draw_answer(ctx, title, answer, of, |at, png| {
        let path = output::numbered(out, at);
        fs::write(&path, png).map_err(Error::io(&path, "writing"))?;
        written.push(path.display().to_string());
        Ok(())
    })?;
    for image in &missing {
        output::print_note(&format!("warning: {image}"));
    }
    // Standard output is for the result only.
    output::print_note(&match written.is_empty() {
        true => "no rows, so no sheet".to_string(),
        false => format!("wrote {}", written.join(", ")),
    });
    Ok(())
}
