//! `prospect man`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use clap_mangen::Man;
use prospect_common::{Error, text};

use super::output;

/// Write the manual pages
///
/// Reads nothing; writes one page per command into DIR (prospect.1, prospect-run.1, …), or the main page to standard output.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect man | man -l -
  prospect man --out ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// Output folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes the pages of `command`, the root command.
pub(super) fn man(command: Command, args: &ManArgs) -> anyhow::Result<u8> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    match &args.out {
        None => output::write(page(&command)?.1.as_bytes())?,
        Some(folder) => {
            fs::create_dir_all(folder).map_err(Error::io(folder, "creating the folder"))?;
            let n = write_all(&command, folder)?;
            output::print(&format!(
                "wrote {} to {}",
                text::counted(n, "page"),
                folder.display()
            ))?;
        }
    }
    Ok(0)
}

/// Writes the pages of a command and its subcommands; returns their number.
fn write_all(command: &Command, folder: &Path) -> anyhow::Result<u64> {
    let (name, text) = page(command)?;
    let path = folder.join(name);
    fs::write(&path, text).map_err(Error::io(&path, "writing"))?;
    let mut n = 1;
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        n += write_all(below, folder)?;
    }
    Ok(n)
}

/// A page's file name and text. The examples get their own sections, since clap_mangen would join their lines.
fn page(command: &Command) -> io::Result<(String, String)> {
    let man = Man::new(command.clone())
        .source(concat!("prospect ", env!("CARGO_PKG_VERSION")))
        .manual("Prospect");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let after = command
        .get_after_help()
        .map_or(String::new(), |help| help.to_string());
    page.extend(sections(&after).into_bytes());
    Ok((man.get_filename(), ascii(&String::from_utf8_lossy(&page))))
}

/// Replaces non-ASCII characters with groff escapes.
fn ascii(page: &str) -> String {
    let named = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => format!("\\[u{:04X}]", u32::from(c)),
    };
    page.chars().map(named).collect()
}

/// Sections from `Heading:` lines, with the lines below kept unfilled.
fn sections(help: &str) -> String {
    let mut out = String::new();
    let mut open = false;
    for line in help.lines() {
        let heading = (!line.starts_with(' '))
            .then(|| line.strip_suffix(':'))
            .flatten();
        if let Some(heading) = heading {
            out += if open { ".fi\n" } else { "" };
            out += &format!(".SH {:?}\n.nf\n", heading.to_uppercase());
            open = true;
        } else {
            let text = line
                .strip_prefix("  ")
                .unwrap_or(line)
                .replace('\\', "\\e")
                .replace('-', "\\-");
            let guard = if text.starts_with(['.', '\'']) {
                "\\&"
            } else {
                ""
            };
            out += &format!("{guard}{text}\n");
        }
    }
    out + if open { ".fi\n" } else { "" }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    #[test]
    fn every_command_has_a_page_with_its_examples_unfilled() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let n = write_all(&command, folder.path()).unwrap();
        assert_eq!(n as usize, fs::read_dir(folder.path()).unwrap().count());
        let page = fs::read_to_string(folder.path().join("prospect-model-inspect.1")).unwrap();
        assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
        let page = fs::read_to_string(folder.path().join("prospect-run.1")).unwrap();
        let examples = page.split(".SH \"EXAMPLES\"\n.nf\n").nth(1).unwrap();
        assert!(
            examples.starts_with("prospect run  ") && examples.contains("\nprospect run \\-\\-set"),
            "{examples}"
        );
        assert!(sections("Examples:\n  .a\\b -c").contains("\\&.a\\eb \\-c"));
    }

    #[test]
    fn groff_accepts_every_page_without_warnings() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        write_all(&command, folder.path()).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let groff = Command::new("groff")
                .args(["-man", "-ww", "-z", "-Tutf8"])
                .arg(&path)
                .output();
            let Ok(output) = groff else {
                return;
            };
            let warnings = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && warnings.is_empty(),
                "{}: {warnings}",
                path.display()
            );
        }
    }
}
