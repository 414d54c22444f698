//! Questions before something is removed.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::error::CliError;

/// Asks whether to go on; `false` unless the answer is yes.
///
/// # Errors
/// Nobody can answer, since standard input is no terminal.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(CliError::NotConfirmed);
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush().map_err(CliError::Output)?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer).map_err(CliError::Stdin)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
