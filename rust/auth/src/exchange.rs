//! Exports and imports of accounts.

use stonechat_subject::{is_subset, is_valid_subject};

/// The kind of an export or import: a stream of messages, or a service that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Messages that are published in the exporting account.
    Stream,
    /// Requests of the importing account.
    Service,
}

impl Exchange {
    /// Returns the kind's name for error texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }
}

/// How many messages answer a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseType {
    /// One.
    #[default]
    Singleton,
    /// Any number, until an empty message, or until none comes for a while.
    Stream,
    /// The same, for one reply in several pieces.
    Chunked,
}

/// A stream or service that an account offers to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The kind: stream or service.
    pub exchange: Exchange,
    /// The subject in the exporting account, which may hold wildcards.
    pub subject: String,
    /// The accounts that may import it; all accounts if empty.
    pub accounts: Vec<String>,
    /// How many messages answer a request; only for services.
    pub response: ResponseType,
}

/// A stream or service of another account that an account uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The kind: stream or service.
    pub exchange: Exchange,
    /// The account that exports it.
    pub account: String,
    /// The subject in the exporting account.
    pub subject: String,
    /// The subject in the importing account; the same subject if absent.
    pub to: Option<String>,
    /// The prefix of the subject in the importing account; only for streams.
    pub prefix: Option<String>,
    /// Whether the service gets details about the requester's connection.
    pub share: bool,
}

impl Import {
    /// Returns the subject in the importing account, without the prefix.
    pub fn local(&self) -> &str {
        self.to.as_deref().filter(|to| !to.is_empty()).unwrap_or(&self.subject)
    }
}

/// The reason for which an import is refused. The texts are nats-server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// No export covers it.
    #[error("{} import not authorized", .0.name())]
    NotAuthorized(Exchange),
    /// A stream is imported twice.
    #[error("stream import already exists")]
    Duplicate,
    /// A service is imported twice under one subject.
    #[error(
        "Duplicate service import subject {subject:?}, previously used in import for account {account:?}, subject {target:?}"
    )]
    DuplicateService {
        /// The subject in the importing account.
        subject: String,
        /// The exporting account of the earlier import.
        account: String,
        /// The earlier import's subject in its exporting account.
        target: String,
    },
    /// The prefix is not a literal subject.
    #[error("stream import prefix can not contain wildcard tokens")]
    Prefix,
    /// A subject is invalid.
    #[error("invalid subject")]
    Subject,
    /// Requests would circulate for ever.
    #[error("import forms a cycle")]
    Cycle,
    /// A chain of imports crosses too many accounts.
    #[error("search cycle depth exhausted")]
    SearchDepth,
}

/// Returns the export that lets `account` use `subject`, if there is one.
pub fn covering<'e>(
    exports: &'e [Export],
    account: &str,
    exchange: Exchange,
    subject: &str,
) -> Option<&'e Export> {
    let allows = |export: &&Export| {
        export.exchange == exchange
            && (export.accounts.is_empty() || export.accounts.iter().any(|a| a == account))
    };
    let mut exports = exports.iter().filter(allows);
    let exact = exports.clone().find(|export| export.subject == subject);
    exact.or_else(|| exports.find(|export| is_subset(subject.as_bytes(), export.subject.as_bytes())))
}

/// Checks an import of `account` against the exports of the other account and the imports `before` it.
///
/// # Errors
///
/// The reason for which the import is refused.
pub fn check_import(
    account: &str,
    import: &Import,
    before: &[Import],
    exports: &[Export],
) -> Result<(), ImportError> {
    if let Some(prefix) = import.prefix.as_deref().filter(|prefix| !prefix.is_empty())
        && (!is_valid_subject(prefix.as_bytes()) || stonechat_subject::has_wildcard(prefix.as_bytes()))
    {
        return Err(ImportError::Prefix);
    }
    if !is_valid_subject(import.subject.as_bytes()) || !is_valid_subject(import.local().as_bytes()) {
        return Err(ImportError::Subject);
    }
    if covering(exports, account, import.exchange, &import.subject).is_none() {
        return Err(ImportError::NotAuthorized(import.exchange));
    }
    let same_account = |other: &&Import| other.exchange == import.exchange && other.account == import.account;
    let mut others = before.iter().filter(same_account);
    match import.exchange {
        Exchange::Stream if others.any(|other| other.subject == import.subject) => {
            Err(ImportError::Duplicate)
        }
        Exchange::Service => match others.find(|other| other.local() == import.local()) {
            Some(other) => Err(ImportError::DuplicateService {
                subject: import.local().to_owned(),
                account: other.account.clone(),
                target: other.subject.clone(),
            }),
            None => Ok(()),
        },
        Exchange::Stream => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(exchange: Exchange, subject: &str, accounts: &[&str]) -> Export {
        let accounts = accounts.iter().map(|a| (*a).to_owned()).collect();
        Export { exchange, subject: subject.into(), accounts, response: ResponseType::Singleton }
    }

    fn import(exchange: Exchange, subject: &str, to: Option<&str>) -> Import {
        Import {
            exchange,
            account: "B".into(),
            subject: subject.into(),
            to: to.map(Into::into),
            prefix: None,
            share: false,
        }
    }

    #[test]
    fn imports_need_an_export_that_covers_them() {
        use Exchange::{Service, Stream};
        let exports =
            [export(Stream, "a.>", &[]), export(Service, "b.*", &["A"]), export(Stream, "c", &["X"])];
        let check = |import: &Import, before: &[Import]| check_import("A", import, before, &exports);
        assert_eq!(check(&import(Stream, "a.b.*", None), &[]), Ok(()));
        assert_eq!(check(&import(Service, "b.c", Some("local")), &[]), Ok(()));
        for (exchange, subject) in [(Service, "a.b"), (Stream, "b.c"), (Stream, "c"), (Service, "b.>")] {
            let wanted = import(exchange, subject, None);
            assert_eq!(check(&wanted, &[]), Err(ImportError::NotAuthorized(exchange)), "{subject}");
        }
        let one = import(Stream, "a.b", None);
        assert_eq!(check(&one, std::slice::from_ref(&one)), Err(ImportError::Duplicate));
        let two = import(Service, "b.c", Some("x"));
        let same = check(&two, &[import(Service, "b.d", Some("x"))]);
        assert!(matches!(same, Err(ImportError::DuplicateService { .. })));
        let prefixed = Import { prefix: Some("a.*".into()), ..one };
        assert_eq!(check(&prefixed, &[]), Err(ImportError::Prefix));
    }
}
