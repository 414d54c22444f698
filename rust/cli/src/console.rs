//! Output of lines on standard error. A closed output is not an error; `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line to standard error; a closed output is ignored.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
