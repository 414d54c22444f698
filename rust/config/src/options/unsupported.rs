//! What a configuration asks for and this version can't do.

use std::fmt;

use crate::lang::Position;

/// A configured feature of a later version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The option or block, as a path (`authorization.users.nkey`), or the flag (`--tls`).
    pub field: String,
    /// Where it was configured; `None` for a flag.
    pub position: Option<Position>,
    /// The server must not start without it: it would run with less security than asked for. Otherwise
    /// it is left out with a warning.
    pub fatal: bool,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{} is not supported yet by stonechat", self.field)?;
        if self.fatal { Ok(()) } else { f.write_str(", ignored") }
    }
}
