//! Colours of the output, if they are on.

use std::env;
use std::io::IsTerminal;

/// A colour of the terminal's theme.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Color {
    Red = 31,
    Green = 32,
}

/// Whether standard output is coloured: it is a terminal, and `NO_COLOR` is not set (<https://no-color.org>).
pub(crate) fn is_colored() -> bool {
    std::io::stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Returns the text in a colour, if output is coloured.
pub(crate) fn paint(text: &str, color: Color) -> String {
    match is_colored() {
        true => format!("\x1b[{}m{text}\x1b[0m", color as u8),
        false => text.to_owned(),
    }
}
