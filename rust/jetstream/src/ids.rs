//! Numbers of the engine's objects.
//!
//! Streams and consumers share one sequence of numbers, in which no number is given twice. A number names a group of records in
//! the log ([`GroupId`]) and an entry of the catalogue.

use std::fmt;

use stonechat_store::wal::GroupId;

macro_rules! id {
    ($name:ident, $what:literal $(, $derived:ident)?) => {
        #[doc = concat!("The number of ", $what, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash $(, $derived)?)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

impl AccountId {
    /// The account's index in the engine's list of accounts.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

id!(AccountId, "an account, in the order in which the engine learned of them", Default);
id!(StreamId, "a stream");
id!(ConsumerId, "a consumer");
id!(BackupId, "a backup on its way", Default);

impl StreamId {
    /// The stream whose records are in this group of the log.
    pub(crate) fn of(group: GroupId) -> Self {
        Self(group.0)
    }
}

impl ConsumerId {
    /// The consumer whose records are in this group of the log.
    pub(crate) fn of(group: GroupId) -> Self {
        Self(group.0)
    }
}

impl From<StreamId> for GroupId {
    fn from(id: StreamId) -> Self {
        Self(id.0)
    }
}

impl From<ConsumerId> for GroupId {
    fn from(id: ConsumerId) -> Self {
        Self(id.0)
    }
}
