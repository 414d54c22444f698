//! One configured user.

use std::sync::Arc;

use crate::{ConnectionKinds, Password, Permissions};

/// A user with name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name, case-sensitive and unique over all accounts.
    pub name: String,
    /// Password, empty if none is configured (then only an empty one matches).
    pub password: Password,
    /// The account it belongs to; `None` is the global account.
    pub account: Option<String>,
    /// Own permissions or the defaults that apply to it; `None` allows everything.
    pub permissions: Option<Arc<Permissions>>,
    /// The kinds of connection it may use.
    pub allowed_connection_types: ConnectionKinds,
}

impl User {
    /// A user of the global account that may do everything.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: Password::new(password),
            account: None,
            permissions: None,
            allowed_connection_types: ConnectionKinds::default(),
        }
    }
}
