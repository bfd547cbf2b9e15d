//! `prospect report`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clap::Args;
use prospect_common::Error;

use super::{Global, output, run};

/// What shows a file in the program that the user has chosen for its kind.
const OPENER: &str = "xdg-open";

/// Bring the report up to date, and say where it is
///
/// Reads and writes what `prospect run report` does: the run folder and, where an earlier stage is not up to date, the images and
/// the model. Prints the path of the report's first page, and nothing else, to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect report
  prospect report --open")]
pub(super) struct ReportArgs {
    /// Show it in the browser (by xdg-open)
    #[arg(long)]
    open: bool,
}

pub(super) fn report(global: &Global, args: &ReportArgs) -> anyhow::Result<u8> {
    let stages = ["report".to_string()];
    let run = run::bring_up_to_date(global, &stages, &output::remark)?;
    let page = run::report(&run);
    output::print(&page.display().to_string())?;
    if args.open {
        show(OPENER, &page)?;
    }
    Ok(0)
}

/// Hands the page to a program, and waits until that has taken it.
fn show(opener: &str, page: &Path) -> Result<(), Error> {
    let status = Command::new(opener)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => std::io::Error::other(format!("{opener} ended with {status}")),
        Err(error) => error,
    };
    Err(Error::io(page, "opening it with xdg-open")(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_shown_is_an_error_that_names_the_page() {
        let page = Path::new("report/index.html");
        assert!(show("true", page).is_ok());
        for opener in ["false", "no-such-program-anywhere"] {
            let error = show(opener, page).unwrap_err();
            assert!(
                error.to_string().starts_with("report/index.html: opening"),
                "{error}"
            );
        }
    }
}
