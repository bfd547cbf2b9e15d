//! `prospect completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

/// Print a shell completion script
///
/// Reads nothing; writes the script to standard output. Save it where your shell looks for completions.
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

/// Prints the script for `command`, the root command.
pub(super) fn completions(command: Command, args: &CompletionsArgs) -> anyhow::Result<u8> {
    output::write(&script(command, args.shell))?;
    Ok(0)
}

fn script(mut command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "prospect", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::{CommandFactory, ValueEnum};

    use super::*;
    use crate::Cli;

    #[test]
    fn script_of_every_shell_names_the_commands() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(Cli::command(), *shell)).unwrap();
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
    fn bash_loads_the_script_and_completes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prospect.bash");
        std::fs::write(&file, script(Cli::command(), Shell::Bash)).unwrap();
        let complete = "source \"$1\"; COMP_WORDS=(prospect comp); COMP_CWORD=1; _prospect prospect comp prospect; echo \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["-c", complete, "-"])
            .arg(&file)
            .output()
            .unwrap();
        let completed = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && completed.trim() == "completions",
            "{completed}{:?}",
            output.stderr
        );
    }
}
