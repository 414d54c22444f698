//! The definition of an account in the configuration file.

use std::sync::Arc;

use crate::{Export, Import, Permissions, User};

/// The account of clients to which authentication assigns no other account.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// The system account unless `system_account` names another.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// One entry of the `accounts` block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountDef {
    /// Its name, case-sensitive.
    pub name: String,
    /// Its users; each has `account` set to `name`.
    pub users: Vec<User>,
    /// Limits on its connections.
    pub limits: AccountLimits,
    /// Permissions of users that have none of their own (already copied into them).
    pub default_permissions: Option<Arc<Permissions>>,
    /// The streams and services that it offers to other accounts.
    pub exports: Vec<Export>,
    /// The streams and services that it uses from other accounts.
    pub imports: Vec<Import>,
}

/// Limits of an account; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Client connections.
    pub max_connections: Option<u64>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<u64>,
    /// Bytes of one message's payload.
    pub max_payload: Option<u64>,
    /// Leaf node connections.
    pub max_leafnodes: Option<u64>,
}
