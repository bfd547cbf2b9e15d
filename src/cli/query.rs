//! `prospect query`.

use std::io::{self, BufWriter, IsTerminal, Read, Write};

use clap::{Args, ValueEnum};

use super::Global;
use crate::{
    error::Error,
    store::{self, RunFolder},
};

/// Ask the tables a question in SQL
///
/// Reads the tables that the run folder's manifest names; writes the answer to standard output. Each table has the
/// name that `prospect status` shows.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect query \"select path, error from images where error is not null\"
  prospect query \"select label_name, count(*) as n from images group by label_name order by n desc\"
  prospect query --format csv \"select * from layers\" > layers.csv
  prospect query - < audit.sql")]
pub(super) struct QueryArgs {
    /// The query; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    sql: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For reading
    Table,
    /// Comma-separated, with a header
    Csv,
    /// One JSON object per line
    Jsonl,
}

pub(super) fn query(global: &Global, args: &QueryArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    let mut sql = args.sql.clone();
    if sql == "-" {
        sql.clear();
        io::stdin().read_to_string(&mut sql)?;
    }
    let frame = store::query(&run, &sql)?;
    let format = match args.format {
        Format::Table => store::Format::Table,
        Format::Csv => store::Format::Csv,
        Format::Jsonl => store::Format::JsonLines,
    };
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
    Ok(0)
}
