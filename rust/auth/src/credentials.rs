//! The credentials that a client presents in CONNECT.

use std::fmt;

/// The fields of CONNECT that concern authentication. An empty string means that the field is absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub pass: String,
    /// Token.
    pub auth_token: String,
    /// Public user nkey.
    pub nkey: String,
    /// Signature of the nonce, base64.
    pub sig: String,
    /// User JWT.
    pub jwt: String,
    /// Account name of a legacy field; giving one is refused.
    pub account: String,
    /// Request to create an account, a legacy field; refused.
    pub new_account: bool,
}

impl Credentials {
    /// Credentials of a user with a password.
    #[must_use]
    pub fn user_password(user: &str, pass: &str) -> Self {
        Self { user: user.to_owned(), pass: pass.to_owned(), ..Self::default() }
    }

    /// Credentials that are a token.
    #[must_use]
    pub fn token(token: &str) -> Self {
        Self { auth_token: token.to_owned(), ..Self::default() }
    }

    /// Returns whether user, password and token are all missing, so that a `no_auth_user` applies.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user.is_empty() && self.pass.is_empty() && self.auth_token.is_empty()
    }

    /// Returns the name that logs and monitoring show for the client.
    pub(crate) fn display_name(&self) -> Option<&str> {
        [&self.nkey, &self.user].into_iter().find(|name| !name.is_empty()).map(String::as_str)
    }
}

impl fmt::Debug for Credentials {
    /// Shows names and hides secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &str| if secret.is_empty() { "" } else { "[REDACTED]" };
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .field("pass", &hidden(&self.pass))
            .field("auth_token", &hidden(&self.auth_token))
            .field("nkey", &self.nkey)
            .field("sig", &hidden(&self.sig))
            .field("jwt", &hidden(&self.jwt))
            .field("account", &self.account)
            .field("new_account", &self.new_account)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_secrets() {
        let given = Credentials {
            pass: "sesame".into(),
            auth_token: "sesame".into(),
            sig: "sesame".into(),
            jwt: "sesame".into(),
            ..Credentials::user_password("ann", "sesame")
        };
        let shown = format!("{given:?}");
        assert!(shown.contains("ann") && !shown.contains("sesame"), "{shown}");
    }
}
