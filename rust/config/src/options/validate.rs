//! Rules that options must satisfy together, from any source.

use std::time::Duration;

use super::Options;
use crate::duration;

/// The reason why a server can't run with these options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// Lame duck mode would end before it began to close clients.
    #[error(
        "lame duck grace period ({}) should be strictly lower than lame duck duration ({})",
        duration::format(*.grace), duration::format(*.duration)
    )]
    LameDuckGrace {
        /// The grace period.
        grace: Duration,
        /// The duration.
        duration: Duration,
    },
    /// A message of the largest size would make any client a slow consumer.
    #[error("max_payload ({max_payload}) cannot be higher than max_pending ({max_pending})")]
    PayloadAbovePending {
        /// The largest payload in bytes.
        max_payload: i32,
        /// The most bytes that may wait for a client.
        max_pending: u64,
    },
    /// `no_auth_user` without users.
    #[error("no_auth_user: \"{0}\" present, but users/nkeys are not defined")]
    NoUsersForNoAuthUser(String),
    /// `no_auth_user` names no configured user.
    #[error(
        "no_auth_user: \"{0}\" not present as user or nkey in authorization block or account configuration"
    )]
    UnknownNoAuthUser(String),
    /// The server name has a space.
    #[error("server name cannot contain spaces")]
    ServerName,
    /// JetStream's domain would not form a valid subject.
    #[error("invalid domain name: derived \"$JS.{0}.API.>\" is not a valid subject")]
    DomainSubject(String),
    /// JetStream's domain has several tokens or a wildcard.
    #[error("invalid domain name: may not contain ., * or >")]
    DomainTokens,
    /// `client_advertise` is no address.
    #[error("Error setting server INFO with ClientAdvertise value of {address}, err={reason}")]
    ClientAdvertise {
        /// The address.
        address: String,
        /// The reason.
        reason: String,
    },
    /// `system_account` names no configured account.
    #[error("error resolving system account: account missing: \"{0}\"")]
    UnknownSystemAccount(String),
}

impl Options {
    /// Checks the rules for a start or a reload with these options.
    ///
    /// # Errors
    /// Returns the first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidOptions> {
        let (grace, duration) = (self.lame_duck_grace_period, self.lame_duck_duration);
        if grace >= duration {
            return Err(InvalidOptions::LameDuckGrace { grace, duration });
        }
        let (max_payload, max_pending) = (self.max_payload, self.max_pending);
        if u64::try_from(max_payload).is_ok_and(|payload| payload > max_pending) {
            return Err(InvalidOptions::PayloadAbovePending { max_payload, max_pending });
        }
        if self.server_name.as_ref().is_some_and(|name| name.contains(' ')) {
            return Err(InvalidOptions::ServerName);
        }
        self.validate_domain()?;
        self.validate_client_advertise()?;
        self.validate_system_account()?;
        self.validate_no_auth_user()
    }

    fn validate_domain(&self) -> Result<(), InvalidOptions> {
        let Some(domain) = self.jetstream_options.domain.as_deref() else { return Ok(()) };
        if domain.contains(char::is_whitespace) || domain.split('.').any(str::is_empty) {
            return Err(InvalidOptions::DomainSubject(domain.to_owned()));
        }
        if domain.contains(['.', '*', '>']) { Err(InvalidOptions::DomainTokens) } else { Ok(()) }
    }

    fn validate_client_advertise(&self) -> Result<(), InvalidOptions> {
        let Some(address) = self.client_advertise.as_deref() else { return Ok(()) };
        let invalid =
            |reason: String| Err(InvalidOptions::ClientAdvertise { address: address.to_owned(), reason });
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => return Ok(()),
        };
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return invalid(format!("address {address}: too many colons in address"));
        }
        match port.parse::<i64>() {
            Ok(_) => Ok(()),
            Err(_) => invalid(format!("strconv.Atoi: parsing {port:?}: invalid syntax")),
        }
    }

    fn validate_no_auth_user(&self) -> Result<(), InvalidOptions> {
        let Some(name) = self.authorization.no_auth_user.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let listed = self.authorization.users.iter().flatten();
        let mut users = listed.chain(self.accounts.iter().flat_map(|a| &a.users)).peekable();
        if users.peek().is_none() {
            Err(InvalidOptions::NoUsersForNoAuthUser(name.clone()))
        } else if users.any(|user| user.name == *name) {
            Ok(())
        } else {
            Err(InvalidOptions::UnknownNoAuthUser(name.clone()))
        }
    }

    fn validate_system_account(&self) -> Result<(), InvalidOptions> {
        match &self.system_account {
            Some(name)
                if name != stonechat_auth::SYSTEM_ACCOUNT
                    && !self.accounts.iter().any(|account| account.name == *name) =>
            {
                Err(InvalidOptions::UnknownSystemAccount(name.clone()))
            }
            _ => Ok(()),
        }
    }
}
