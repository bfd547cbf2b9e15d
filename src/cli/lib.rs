//! The command line: parses arguments, calls the library, prints results.

mod clean;
mod completions;
mod diff;
mod doctor;
mod explain;
mod export;
mod global;
mod init;
mod interrupt;
mod logging;
mod man;
mod model;
mod output;
mod plan;
mod query;
mod report;
mod review;
mod run;
mod similar;
mod status;
mod summary;
mod unit;
mod verify;

use std::{
    ffi::OsString,
    io::{self, Write},
    panic,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use clap::{CommandFactory, Parser, Subcommand};
use prospect_common::{Error, text};

use self::global::Global;

/// Mine an image dataset with a trained network
///
/// Reads pipeline.toml, which names an image folder, a network and a run folder (`prospect init` writes one); writes tables,
/// pictures and a report into the run folder.
#[derive(Debug, Parser)]
#[command(
    name = "prospect",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  prospect init --images photos --model net.pt2  write pipeline.toml
  prospect doctor                                check that everything is in place
  prospect plan                                  show what a run would do, and why
  prospect run                                   run it, or resume where it stopped
  prospect report --open                         see the findings
  prospect query --list                          list the named queries

Exit status:
  0    success
  2    invalid usage or configuration, or output of another command is missing
  3    more new findings than --max-new allows (diff, summary)
  65   bad data: an invalid file, or too many unreadable images
  74   I/O error, disk full, or libtorch failure
  75   run folder locked by another process; try again later
  101  a bug in Prospect; please report it
  130  interrupted; run the same command again to resume"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Run(run::RunArgs),
    Plan(plan::PlanArgs),
    Status(status::StatusArgs),
    Verify(verify::VerifyArgs),
    Query(query::QueryArgs),
    Clean(clean::CleanArgs),
    Doctor(doctor::DoctorArgs),
    Model(model::ModelArgs),
    Explain(explain::ExplainArgs),
    Unit(unit::UnitArgs),
    Similar(similar::SimilarArgs),
    Diff(diff::DiffArgs),
    Review(review::ReviewArgs),
    Summary(summary::SummaryArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// The last panic: where it was, and its message.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs the program. Libraries panic on some damaged files, which their callers catch: a panic goes to the log, and only one
/// that nothing catches to the terminal, in a sentence.
pub fn main() -> ExitCode {
    panic::set_hook(Box::new(|info| {
        let message = info.to_string().replace('\n', " ");
        tracing::error!(target: logging::FILE_ONLY, "{message}");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }));
    panic::catch_unwind(start).unwrap_or_else(|_| {
        let mut last = PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        let why = last.take().unwrap_or_default();
        report(&Error::internal("stopped", why).into())
    })
}

/// Parses the command line, runs the command, reports its error and returns the exit status.
fn start() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version arrive here too. A closed pipe is fine.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let global = &cli.global;
    if let Err(error) = check_repeated_settings(global, std::env::args_os()) {
        return report(&error.into());
    }
    let result = match &cli.command {
        Command::Init(args) => init::init(global, args),
        Command::Run(args) => run::run(global, args),
        Command::Plan(args) => plan::plan(global, args),
        Command::Status(args) => status::status(global, args),
        Command::Verify(args) => verify::verify(global, args),
        Command::Query(args) => query::query(global, args),
        Command::Clean(args) => clean::clean(global, args),
        Command::Doctor(args) => doctor::doctor(global, args),
        Command::Model(args) => model::model(args),
        Command::Explain(args) => explain::explain(global, args),
        Command::Unit(args) => unit::unit(global, args),
        Command::Similar(args) => similar::run(global, args),
        Command::Diff(args) => diff::diff(args),
        Command::Review(args) => review::review(global, args),
        Command::Summary(args) => summary::summary(global, args),
        Command::Report(args) => report::report(global, args),
        Command::Export(args) => export::export(global, args),
        Command::Completions(args) => completions::completions(Cli::command(), args),
        Command::Man(args) => man::man(Cli::command(), args),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => report(&global.placed(error)),
    }
}

/// clap keeps only the last group if a repeatable option is given both before and after the command: refuse rather
/// than lose a setting.
fn check_repeated_settings(
    global: &Global,
    arguments: impl Iterator<Item = OsString>,
) -> Result<(), Error> {
    let given = arguments
        .take_while(|argument| argument != "--")
        .filter(|argument| {
            argument == "--set" || argument.as_encoded_bytes().starts_with(b"--set=")
        })
        .count();
    if given == global.set.len() {
        return Ok(());
    }
    Err(Error::usage(
        "--set is given both before and after the command; put all of them after it",
    ))
}

/// Writes the error to standard error and returns its exit status.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(io) = error.downcast_ref::<io::Error>()
        && io.kind() == io::ErrorKind::BrokenPipe
    {
        // The reader closed the pipe.
        return ExitCode::SUCCESS;
    }
    let message = full_message(error);
    tracing::error!(target: logging::FILE_ONLY, "{message}");
    let _ = writeln!(io::stderr(), "error: {}", text::escaped_lines(&message));
    ExitCode::from(match error.downcast_ref::<Error>() {
        Some(error) => error.exit_code(),
        None => 74,
    })
}

/// The error and its causes on one line, without causes already quoted.
fn full_message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message += &format!(": {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The command and its subcommands at every depth, with their full names.
    fn commands(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
        let mut all = vec![(words.to_string(), command.clone())];
        for below in command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
        {
            all.extend(commands(below, &format!("{words} {}", below.get_name())));
        }
        all
    }

    fn help(text: Option<&clap::builder::StyledStr>) -> String {
        text.map_or(String::new(), |text| text.to_string())
    }

    /// Arguments of an example, up to a trailing remark, a redirection or a pipe.
    fn words(example: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        let mut characters = example.trim().chars().peekable();
        while let Some(c) = characters.next() {
            match (quote, c) {
                (None, '>' | '<' | '|' | '&') => return words,
                (None, ' ') if characters.peek() == Some(&' ') => break,
                (None, ' ') => words.push(std::mem::take(&mut word)),
                (None, '"' | '\'') => quote = Some(c),
                (Some(end), c) if c == end => quote = None,
                (_, c) => word.push(c),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn every_command_documents_its_input_and_output_and_its_examples_parse() {
        assert_eq!(words("prospect a 'b c' > d"), ["prospect", "a", "b c"]);
        assert_eq!(words("prospect a   remark"), ["prospect", "a"]);
        for (name, command) in commands(&Cli::command(), "prospect") {
            assert_eq!(help(command.get_about()).lines().count(), 1, "{name}");
            let long = help(command.get_long_about());
            assert!(
                long.contains("Reads") && long.contains("writes"),
                "{name}: {long}"
            );
            let after = help(command.get_after_help());
            let examples: Vec<&str> = after
                .lines()
                .filter(|line| line.starts_with("  prospect "))
                .collect();
            assert!(
                after.starts_with("Examples:\n") && !examples.is_empty(),
                "{name}: {after}"
            );
            for example in examples {
                assert!(example.trim().starts_with(&name), "{name}: {example}");
                if let Err(error) = Cli::try_parse_from(words(example)) {
                    panic!("{example}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_readme_lists_every_exit_status() {
        let readme = include_str!("../../README.md");
        let help = help(Cli::command().get_after_help());
        let list = help.split("Exit status:\n").nth(1).unwrap();
        for line in list.lines() {
            let (status, meaning) = line.trim().split_once(' ').unwrap();
            let row = format!("| {status} | {} |", meaning.trim());
            assert!(readme.contains(&row), "{row}");
        }
    }

    #[test]
    fn common_options_work_before_and_after_the_command() {
        for line in [
            ["prospect", "-c", "a.toml", "--set", "patches.k=3", "plan"],
            ["prospect", "plan", "-c", "a.toml", "--set", "patches.k=3"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.global.config, PathBuf::from("a.toml"));
            assert_eq!(cli.global.set, ["patches.k=3"]);
        }
        assert!(Cli::try_parse_from(["prospect", "run", "-q", "-v"]).is_err());
    }

    #[test]
    fn causes_are_not_repeated() {
        use anyhow::Context as _;
        let io = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = anyhow::Error::new(Error::io("a.pt2", "opening")(io()));
        assert_eq!(full_message(&error), "a.pt2: opening failed: no such file");
        let error = Err::<(), _>(io()).context("drawing").unwrap_err();
        assert_eq!(full_message(&error), "drawing: no such file");
    }

    #[test]
    fn no_setting_is_lost() {
        let check = |line: &[&str]| {
            let cli = Cli::try_parse_from(line).unwrap();
            check_repeated_settings(&cli.global, line.iter().map(OsString::from))
        };
        let split = ["prospect", "--set", "a.b=1", "plan", "--set=c.d=2"];
        assert!(check(&split).is_err());
        assert!(check(&["prospect", "plan", "--set", "a.b=1", "--set=c.d=2"]).is_ok());
        assert!(check(&["prospect", "query", "--set", "a.b=1", "--", "--set"]).is_ok());
    }
}
