//! Checks of imports against each other: each needs an export, must be unique and must not close a circle.

use std::collections::{HashMap, HashSet};

use stonechat_auth::{AccountDef, Exchange, Export, Import, ImportError, check_import};
use stonechat_subject::{is_subset, overlaps};

/// The maximum accounts that the search for a circle visits, as in nats-server.
const SEARCH_MAX: usize = 1024;

/// The imports that were found valid so far.
pub(super) struct GoodImports {
    /// The index of each account.
    places: HashMap<String, usize>,
    /// The name of each account.
    names: Vec<String>,
    /// The exports of each account.
    exports: Vec<Vec<Export>>,
    /// The valid imports of each account.
    pub(super) imports: Vec<Vec<Import>>,
}

/// The reason why an import is invalid.
pub(super) enum NoImport {
    /// The account does not exist.
    UnknownAccount,
    /// The import is refused.
    Refused(ImportError),
}

impl From<ImportError> for NoImport {
    fn from(error: ImportError) -> Self {
        Self::Refused(error)
    }
}

impl GoodImports {
    /// Returns a value for these accounts, without imports.
    pub(super) fn new(accounts: &[AccountDef]) -> Self {
        Self {
            places: accounts.iter().enumerate().map(|(at, account)| (account.name.clone(), at)).collect(),
            names: accounts.iter().map(|account| account.name.clone()).collect(),
            exports: accounts.iter().map(|account| account.exports.clone()).collect(),
            imports: vec![Vec::new(); accounts.len()],
        }
    }

    /// Adds an import of the account with index `at`, if it is valid.
    ///
    /// # Errors
    /// Returns the reason why the import is invalid.
    pub(super) fn add(&mut self, at: usize, import: &Import) -> Result<(), NoImport> {
        let from = *self.places.get(&import.account).ok_or(NoImport::UnknownAccount)?;
        check_import(&self.names[at], import, &self.imports[at], &self.exports[from])?;
        match import.exchange {
            // As in nats-server, which compares both subjects with those of the other account.
            Exchange::Stream => {
                self.check_circle(at, from, import.exchange, &stream_here(import))?;
                self.check_circle(at, from, import.exchange, &import.subject)?;
            }
            Exchange::Service => self.check_circle(at, from, import.exchange, &wildcards(import.local()))?,
        }
        self.imports[at].push(import.clone());
        Ok(())
    }

    /// Checks whether messages from account `from` to `at` could return through other imports. An account that can
    /// be reached on two paths counts as a circle too, as in nats-server.
    fn check_circle(
        &self,
        at: usize,
        from: usize,
        exchange: Exchange,
        subject: &str,
    ) -> Result<(), ImportError> {
        let mut visited = HashSet::from([at]);
        let mut way = Vec::from([(from, subject.to_owned(), 0)]);
        while let Some((account, subject, next)) = way.last_mut() {
            if *next == 0 {
                if visited.len() >= SEARCH_MAX {
                    return Err(ImportError::SearchDepth);
                }
                if exchange == Exchange::Stream && !self.exports_stream(*account, subject) {
                    way.pop();
                    continue;
                }
            }
            let further = self.imports[*account].iter().enumerate().skip(*next).find_map(|(at, import)| {
                let (there, here) = ends(import);
                let meets = import.exchange == exchange && overlaps(subject.as_bytes(), there.as_bytes());
                meets.then_some((at, import, here))
            });
            let Some((found, import, here)) = further else {
                way.pop();
                continue;
            };
            let Some(&to) = self.places.get(&import.account) else {
                *next = found + 1;
                continue;
            };
            if visited.contains(&to) {
                return Err(ImportError::Cycle);
            }
            visited.insert(*account);
            *next = found + 1;
            let narrower = is_subset(here.as_bytes(), subject.as_bytes());
            let subject = if narrower { here } else { subject.clone() };
            way.push((to, subject, 0));
        }
        Ok(())
    }

    fn exports_stream(&self, account: usize, subject: &str) -> bool {
        self.exports[account].iter().any(|export| {
            export.exchange == Exchange::Stream && is_subset(subject.as_bytes(), export.subject.as_bytes())
        })
    }
}

/// Returns two subjects of an import: the one to compare with the searched subject, and the one with which the search
/// continues.
fn ends(import: &Import) -> (String, String) {
    match import.exchange {
        Exchange::Stream => (stream_here(import), stream_here(import)),
        Exchange::Service => (import.subject.clone(), wildcards(import.local())),
    }
}

/// Returns the subject of an imported stream in the importing account.
fn stream_here(import: &Import) -> String {
    match import.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => format!("{}.{}", prefix.trim_end_matches('.'), import.subject),
        None => wildcards(import.local()),
    }
}

/// Returns a subject with `*` for each reference to a wildcard, such as `$1` or `{{wildcard(1)}}`.
fn wildcards(subject: &str) -> String {
    let is_reference = |token: &str| {
        token.starts_with("{{") || token.strip_prefix('$').is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let tokens = subject.split('.').map(|token| if is_reference(token) { "*" } else { token });
    tokens.collect::<Vec<_>>().join(".")
}
