//! `stonechat completion`: prints a script with which a shell completes commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::error::CliError;
use crate::message::write_out;

const EXAMPLES: &str = "\
Examples:
  stonechat completion bash >~/.local/share/bash-completion/completions/stonechat
  stonechat completion zsh >~/.zfunc/_stonechat
  stonechat completion fish >~/.config/fish/completions/stonechat.fish";

/// Arguments of `stonechat completion`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Runs `stonechat completion`.
pub(crate) fn run(args: &CompletionArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "stonechat", &mut script);
    write_out(&script)
}
