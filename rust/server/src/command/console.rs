//! Output to the two standard streams. A reader that has gone (`stonechat-server --help | head -1`) is not an error, and
//! `println!` would panic.

use std::fmt::{Arguments, Display};
use std::io::{self, Write};

/// Prints a line to standard output; a closed output is ignored.
pub(super) fn out(line: impl Display) {
    print(&mut io::stdout().lock(), format_args!("{line}\n"));
}

/// Prints a line to standard error; a closed output is ignored.
pub(super) fn err(line: impl Display) {
    err_part(format_args!("{line}\n"));
}

/// Prints text without a line end to standard error; a closed output is ignored.
pub(super) fn err_part(text: impl Display) {
    print(&mut io::stderr().lock(), format_args!("{text}"));
}

fn print(stream: &mut impl Write, text: Arguments<'_>) {
    let _ = stream.write_fmt(text).and_then(|()| stream.flush());
}
