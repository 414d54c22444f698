//! Filter subjects, matched byte by byte, so that a search in a tree drops a branch at the first byte that fails.

/// A filter subject: literal tokens, `*` for any one token, `>` at the end for one or more.
#[derive(Debug, Clone)]
pub struct Filter {
    bytes: Vec<u8>,
}

/// The state of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched {
    /// The byte at this place of the filter comes next.
    At(usize),
    /// Within a token that the `*` at this offset matches.
    InToken(usize),
    /// Behind a `>`, which matches everything.
    Rest,
}

impl Filter {
    /// Creates a filter from `subject`, which must be valid.
    pub fn new(subject: &[u8]) -> Self {
        Self { bytes: subject.to_vec() }
    }

    /// Returns the subject, if it has no wildcards.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        (self.prefix().len() == self.bytes.len()).then_some(&self.bytes)
    }

    /// Returns the prefix that all matching subjects share.
    pub(crate) fn prefix(&self) -> &[u8] {
        let end = (0..self.bytes.len()).find(|at| self.wildcard(*at).is_some());
        &self.bytes[..end.unwrap_or(self.bytes.len())]
    }

    /// Whether a subject with this prefix may match.
    pub(crate) fn may_match_behind(&self, prefix: &[u8]) -> bool {
        prefix.iter().try_fold(Self::start(), |state, byte| self.advance(state, *byte)).is_some()
    }

    /// The state before the first byte.
    pub(crate) fn start() -> Matched {
        Matched::At(0)
    }

    /// The state behind one more byte of the subject, or `None` if no subject that begins so matches.
    pub(crate) fn advance(&self, state: Matched, byte: u8) -> Option<Matched> {
        match state {
            Matched::Rest => Some(Matched::Rest),
            Matched::InToken(star) if byte != b'.' => Some(Matched::InToken(star)),
            Matched::InToken(star) => {
                (self.bytes.get(star + 1) == Some(&b'.')).then_some(Matched::At(star + 2))
            }
            Matched::At(at) => match self.wildcard(at) {
                Some(b'>') => (byte != b'.').then_some(Matched::Rest),
                Some(_) => (byte != b'.').then_some(Matched::InToken(at)),
                None => (self.bytes.get(at) == Some(&byte)).then_some(Matched::At(at + 1)),
            },
        }
    }

    /// Whether the subject may end here.
    pub(crate) fn accepts(&self, state: Matched) -> bool {
        match state {
            Matched::Rest => true,
            Matched::InToken(star) => star + 1 == self.bytes.len(),
            Matched::At(at) => at == self.bytes.len(),
        }
    }

    /// Returns the wildcard at `at`, if it is a whole token.
    fn wildcard(&self, at: usize) -> Option<u8> {
        let begins = at == 0 || self.bytes[at - 1] == b'.';
        match (self.bytes.get(at), self.bytes.get(at + 1)) {
            (Some(b'>'), None) if begins => Some(b'>'),
            (Some(b'*'), None | Some(b'.')) if begins => Some(b'*'),
            _ => None,
        }
    }

    /// Whether `subject` matches.
    pub fn matches(&self, subject: &[u8]) -> bool {
        let end = subject.iter().try_fold(Self::start(), |state, byte| self.advance(state, *byte));
        end.is_some_and(|state| self.accepts(state))
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn wildcards_are_whole_tokens() {
        for (filter, subject, matches) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.*.c", "a.bcd.c", true),
            (">", "a", true),
            (">", "a.b.c", true),
            ("a.>", "a", false),
            ("a.>", "a.b", true),
            ("a.>", "ab.c", false),
            ("*.>", "a.b.c", true),
            ("*.*", "a", false),
            ("a*", "a*", true),
            ("a*", "ab", false),
            ("a.b>", "a.b>", true),
            ("a.b>", "a.bc", false),
            (">.a", ">.a", true),
            (">.a", "b.a", false),
        ] {
            assert_eq!(
                Filter::new(filter.as_bytes()).matches(subject.as_bytes()),
                matches,
                "{filter} {subject}"
            );
        }
    }
}
