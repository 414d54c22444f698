//! The `authorization` block of the configuration.

use std::{sync::Arc, time::Duration};

use crate::{Password, Permissions, User};

/// How long a client may take to present its credentials unless configured otherwise.
pub const DEFAULT_AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// The credentials that admit clients, apart from the users of accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    /// The name of the single user, whose password is `password`.
    pub user: Option<String>,
    /// The password of the single user.
    pub password: Option<Password>,
    /// The token that admits clients.
    pub token: Option<Password>,
    /// Users of the global account; `None` if there is no list. An empty list requires no credentials either.
    pub users: Option<Vec<User>>,
    /// Permissions of users that have none of their own (already copied into `users`).
    pub default_permissions: Option<Arc<Permissions>>,
    /// Time for the client to authenticate; `None` stands for [`DEFAULT_AUTH_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// The user whose grant clients without credentials get.
    pub no_auth_user: Option<String>,
    /// Whether the configuration has an authorization block, even an empty one.
    pub is_defined: bool,
}

impl Authorization {
    /// The time for the client to authenticate.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_AUTH_TIMEOUT)
    }
}
