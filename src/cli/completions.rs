//! `prospect completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

/// Print a script that completes commands and options in a shell
///
/// Reads nothing; writes the script to standard output, to be kept where the shell looks for such.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect completions bash > ~/.local/share/bash-completion/completions/prospect
  prospect completions zsh > ~/.zfunc/_prospect
  prospect completions fish > ~/.config/fish/completions/prospect.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<u8> {
    output::write(&script(args.shell))?;
    Ok(0)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "prospect", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_names_the_commands() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["init", "similar", "--config"] {
                // Fish and elvish write long options without their dashes.
                assert!(
                    script.contains(word.trim_start_matches('-')),
                    "{shell}: {word}"
                );
            }
        }
    }

    #[test]
    fn bash_takes_the_script_and_completes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prospect.bash");
        std::fs::write(&file, script(Shell::Bash)).unwrap();
        let complete = "source \"$1\"; COMP_WORDS=(prospect comp); COMP_CWORD=1; _prospect prospect comp prospect; echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["-c", complete, "-"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.trim() == "completions",
            "{said}{:?}",
            output.stderr
        );
    }
}
