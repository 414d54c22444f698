//! What accounts give each other: exports and imports.

use stonechat_subject::{is_subset, is_valid_subject};

/// Streams of messages, or a service that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Messages that are published in the exporting account.
    Stream,
    /// Requests of the importing account.
    Service,
}

impl Exchange {
    /// Its name in messages.
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
    /// Any number, until an empty one or for as long as they keep coming.
    Stream,
    /// The same, of one answer in pieces.
    Chunked,
}

/// Something that an account lets others use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// What it is.
    pub exchange: Exchange,
    /// The subject in the exporting account, which may hold wildcards.
    pub subject: String,
    /// The accounts that may use it; everybody if there are none.
    pub accounts: Vec<String>,
    /// For a service.
    pub response: ResponseType,
}

/// Something of another account that an account uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// What it is.
    pub exchange: Exchange,
    /// The account that exports it.
    pub account: String,
    /// The subject there.
    pub subject: String,
    /// The subject here; the same one if it is not given.
    pub to: Option<String>,
    /// What comes before the subject here; only for streams.
    pub prefix: Option<String>,
    /// Whether the service learns who asks.
    pub share: bool,
}

impl Import {
    /// The subject here, as far as it is known without a message.
    pub fn local(&self) -> &str {
        self.to.as_deref().filter(|to| !to.is_empty()).unwrap_or(&self.subject)
    }
}

/// Why an import can't be had. The texts are nats-server's.
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
        /// The subject here.
        subject: String,
        /// The account of the other one.
        account: String,
        /// Its subject there.
        target: String,
    },
    /// A prefix is no literal subject.
    #[error("stream import prefix can not contain wildcard tokens")]
    Prefix,
    /// A subject is none.
    #[error("invalid subject")]
    Subject,
    /// Requests would go round for ever.
    #[error("import forms a cycle")]
    Cycle,
    /// Too many accounts lie one behind the other.
    #[error("search cycle depth exhausted")]
    SearchDepth,
}

/// Whether one of the exports covers what `account` wants of it; answers the one that does.
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

/// Checks an import of `account` beside those that it has already.
///
/// # Errors
///
/// What is wrong with it.
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
