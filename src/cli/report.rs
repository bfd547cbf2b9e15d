//! `prospect report`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clap::Args;
use prospect_common::Error;

use super::{Global, output, run};

/// Opens a file in the user's default program.
const OPENER: &str = "xdg-open";

/// Bring the report up to date and print its path
///
/// Reads and writes the same as `prospect run report`: the run folder and, if an earlier stage is out of date, the images and
/// the model. Prints only the path of the report's first page to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect report
  prospect report --open")]
pub(super) struct ReportArgs {
    /// Open it in the browser (with xdg-open)
    #[arg(long)]
    open: bool,
}

pub(super) fn report(global: &Global, args: &ReportArgs) -> anyhow::Result<u8> {
    let stages = ["report".to_string()];
    let run = run::bring_up_to_date(global, &stages, false, &output::print_note)?;
    let page = run::report(&run);
    output::print(&page.display().to_string())?;
    if args.open {
        show(OPENER, &page)?;
    }
    Ok(0)
}

/// Opens the page with a program and waits for it to exit.
fn show(opener: &str, page: &Path) -> Result<(), Error> {
    let status = Command::new(opener)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let reason = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => std::io::Error::other(format!("{opener} failed: {status}")),
        Err(error) => error,
    };
    Err(Error::io(page, "opening with xdg-open")(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_to_open_names_the_page() {
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
