//! Colours, where they are wanted.

use std::env;
use std::io::IsTerminal;

/// A colour of the terminal's theme.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Color {
    Red = 31,
    Green = 32,
}

/// Whether standard output takes colours: a terminal, and nobody said `NO_COLOR` (<https://no-color.org>).
pub(crate) fn is_colored() -> bool {
    std::io::stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// The text in a colour, if output takes colours.
pub(crate) fn paint(text: &str, color: Color) -> String {
    match is_colored() {
        true => format!("\x1b[{}m{text}\x1b[0m", color as u8),
        false => text.to_owned(),
    }
}
