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
use prospect_stages::writer_of;
use prospect_store::{self as store, RunFolder};

use super::{Global, logging, output};

/// Where a project keeps queries of its own, beside its configuration.
const FOLDER: &str = "jobs/audits";

/// Ask the tables a question, by its name or in SQL
///
/// Reads the tables that the run folder's manifest names; writes the answer to standard output. Each table has the
/// name that `prospect status` shows, and table attributes has one row for each image and value of its split and of the
/// metadata's texts, flags and whole numbers. A named query is a file of SQL with its parameters in the header: those
/// built in, and those in jobs/audits beside the configuration, which come first. They run unchanged in DuckDB.
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
    /// The query's name, or SQL; `-` reads SQL from standard input
    #[arg(value_name = "NAME|SQL", required_unless_present_any = ["list", "show", "views"])]
    query: Option<String>,
    /// Sets a parameter that the query declares; repeatable
    #[arg(short, long = "param", value_name = "NAME=VALUE", requires = "query")]
    params: Vec<String>,
    /// How the answer is written. Default: table
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Writes the answer to this file instead of standard output
    #[arg(short, long, value_name = "FILE", requires = "query")]
    output: Option<PathBuf>,
    /// Also draws the images of the answer: those that column image_id or path names, and beside them those of other_id or
    /// other_path
    #[arg(long, value_name = "SHEET.png", requires = "query")]
    sheet: Option<PathBuf>,
    /// A folder of named queries (NAME.sql), which come before those built in. Default: jobs/audits beside the
    /// configuration, if it is there
    #[arg(long, value_name = "DIR")]
    audits: Option<PathBuf>,
    /// Lists the named queries and what they ask (with --format json their parameters too)
    #[arg(long, conflicts_with_all = ["query", "show", "views"])]
    list: bool,
    /// Prints a named query: what it asks, how to read the answer, its parameters and its SQL
    #[arg(long, value_name = "NAME", conflicts_with_all = ["query", "views"])]
    show: Option<String>,
    /// Prints DuckDB's statements that make the run's tables, as they are now, views
    #[arg(long, conflicts_with = "query")]
    views: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// For reading
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
    let audit = asked(&catalog, args.query.as_deref().unwrap_or_default())?;
    let bound = audit.bind(&args.params)?;
    check_tables(&run, &audit)?;
    check_classes(&run, &bound)?;
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
            output::remark(&format!("wrote {rows} to {}", path.display()));
        }
        None => {
            // A file or another program gets texts as they are; a terminal gets no control characters.
            let terminal_width = io::stdout()
                .is_terminal()
                .then(|| usize::from(console::Term::stdout().size().1));
            let mut out = BufWriter::new(io::stdout().lock());
            match store::render_to(&frame, format, terminal_width, &mut out) {
                // Only standard output is written here: as an I/O error of ours it is known for what it is.
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
        let ctx = Context::new(&config, &run, &progress, &cancel);
        let title = [&*audit.title]
            .into_iter()
            .chain(args.params.iter().map(String::as_str));
        let title = title.collect::<Vec<_>>().join("   ");
        let shown = store::cells(&frame, cards::MAX_CARDS)?;
        draw(&ctx, &title, &shown, frame.height(), sheet)?;
    }
    Ok(0)
}

/// The query of that name, or a statement of its own.
fn asked(catalog: &Catalog, query: &str) -> anyhow::Result<Audit> {
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
                    audit.map_or_else(|error| format!("(wrong: {error})"), |audit| audit.title);
                vec![name.clone(), about]
            });
            let list = output::columns(&rows.collect::<Vec<_>>(), &[]);
            output::print(&format!(
                "{list}\n{}\n",
                output::of_kinds("kinds of findings")
            ))?;
        }
        Some(Format::Json) => {
            let audits = found
                .map(|(_, audit)| audit)
                .collect::<Result<Vec<_>, _>>()?;
            output::print_json(&audits)?;
        }
        Some(_) => {
            return Err(Error::usage("--list is written as table or json").into());
        }
    }
    Ok(0)
}

/// Tables that the query needs and the run does not have are named with what makes them.
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
                    "changes is written where [run] previous names an earlier run's folder".into()
                }
                table => format!("stage {stage} has run and written no {table}: see its settings"),
            });
        }
    }
    let next = match (stages.is_empty(), done.is_empty()) {
        (true, _) => "no stage of this version writes it".to_string(),
        (_, false) => done.join("; "),
        _ => format!("make it with `prospect run {}`", stages.join(" ")),
    };
    Err(Error::Missing {
        what: format!(
            "table {}, which query {} reads,",
            missing.join(", "),
            audit.name
        ),
        next,
    })
}

/// A class that nothing is called finds nothing, which would look like a clean class.
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
                "-p {parameter}: no class is called {class:?}{near}; the classes are {}",
                text::shortened(&names.join(", "), 400)
            ))
        })
        .collect();
    complaints.into_result()
}

/// Writes the sheets, and names images that are not on them.
fn draw(
    ctx: &Context,
    title: &str,
    answer: &store::Cells,
    of: usize,
    out: &Path,
) -> anyhow::Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder, "making the folder"))?;
    }
    let mut written = Vec::new();
    let missing = draw_answer(ctx, title, answer, of, |at, png| {
        let path = output::numbered(out, at);
        fs::write(&path, png).map_err(Error::io(&path, "writing"))?;
        written.push(path.display().to_string());
        Ok(())
    })?;
    for image in &missing {
        output::remark(&format!("warning: {image}"));
    }
    // Standard output holds the answer and nothing else.
    output::remark(&match written.is_empty() {
        true => "no rows, so no sheet".to_string(),
        false => format!("wrote {}", written.join(", ")),
    });
    Ok(())
}
