//! Configured features that this version lacks, and their effect on the start.

use std::fmt;

use super::{
    blocks::{CLUSTER, GATEWAY, LEAFNODES, MQTT, WEBSOCKET},
    schema::Schema,
};
use crate::lang::Position;

/// A top-level block whose capability this version lacks.
pub(crate) struct UnsupportedBlock {
    /// The key of the block, then its aliases; all in lower case.
    names: &'static [&'static str],
    /// The keys that the block may hold.
    pub(super) schema: &'static Schema,
}

/// The blocks that this version lacks. When a capability is implemented, remove its line: no other code treats the block
/// as missing, except for the flags of a cluster, which query this table.
static BLOCKS: [UnsupportedBlock; 5] = [
    UnsupportedBlock { names: &["cluster"], schema: &CLUSTER },
    UnsupportedBlock { names: &["gateway"], schema: &GATEWAY },
    UnsupportedBlock { names: &["leafnodes", "leaf"], schema: &LEAFNODES },
    UnsupportedBlock { names: &["websocket", "ws"], schema: &WEBSOCKET },
    UnsupportedBlock { names: &["mqtt"], schema: &MQTT },
];

impl UnsupportedBlock {
    /// Returns the unsupported block with this key in lower case.
    pub(crate) fn named(key: &str) -> Option<&'static Self> {
        BLOCKS.iter().find(|block| block.names.contains(&key))
    }

    /// Returns the block's usual key.
    pub(super) fn name(&self) -> &'static str {
        self.names[0]
    }
}

/// The effect of a configured feature that the server lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The feature restricts access or use: the server does not start, because it would allow more than the
    /// configuration does.
    Restriction,
    /// The feature is a capability of its own: the server does not start unless `allow_unsupported` is set.
    Capability,
    /// The server starts without the feature and logs a warning.
    Ignored,
}

/// A configured feature that this version lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The option or block, as a path (`authorization.users.nkey`), or the flag (`--tls`).
    pub field: String,
    /// The position in the file; `None` for a flag.
    pub position: Option<Position>,
    /// The effect on the start.
    pub effect: Effect,
}

impl Unsupported {
    /// Returns whether the server must not start.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.effect != Effect::Ignored
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{} is not supported yet by stonechat", self.field)?;
        match self.effect {
            Effect::Restriction => {
                f.write_str("; a server without it would allow more than the configuration does")
            }
            Effect::Capability => {
                f.write_str("; to start without it, set allow_unsupported: true or --allow_unsupported")
            }
            Effect::Ignored => f.write_str(", ignored"),
        }
    }
}

/// Reduces missing capabilities to warnings, as `allow_unsupported` asks. Restrictions stay.
pub(super) fn allow_capabilities(unsupported: &mut [Unsupported]) {
    for feature in unsupported.iter_mut().filter(|feature| feature.effect == Effect::Capability) {
        feature.effect = Effect::Ignored;
    }
}
