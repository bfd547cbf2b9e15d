//! `prospect query`.

use std::io::{self, IsTerminal, Read, Write};

use clap::{Args, ValueEnum};

use super::{Global, output};
use crate::store::{self, RunFolder};

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
    let mut frame = store::query(&run, &sql)?;
    let format = match args.format {
        Format::Table => store::Format::Table,
        Format::Csv => store::Format::Csv,
        Format::Jsonl => store::Format::JsonLines,
    };
    let answer = store::render(&mut frame, format)?;
    if io::stdout().is_terminal() || matches!(args.format, Format::Table) {
        output::print(&answer)?;
    } else {
        // A file or another program gets the bytes as they are.
        let mut out = io::stdout().lock();
        out.write_all(answer.as_bytes())?;
        out.flush()?;
    }
    Ok(0)
}
