//! Subjects: tokens joined by dots. `*` matches one token, `>` the rest (ADR-6).

/// The tokens of a subject, in order. An empty subject has one empty token.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|&b| b == b'.')
}

/// Returns the number of tokens of a subject.
pub fn token_count(subject: &[u8]) -> usize {
    subject.iter().filter(|&&b| b == b'.').count() + 1
}

/// Whether a subscription may name this subject: no empty token, no white space, `>` only as the last token.
/// A `*` or `>` inside a longer token (`foo*`, `>a`) is an ordinary character, as nats-server 2.15.
pub fn is_valid_subject(subject: &[u8]) -> bool {
    let mut open = true;
    for token in tokens(subject) {
        if !open || token.is_empty() || token.iter().any(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c))
        {
            return false;
        }
        open = token != b">";
    }
    true
}

/// Whether a message may carry this subject when its publisher asked for pedantic checks: a valid subject
/// without wildcards.
pub fn is_valid_literal(subject: &[u8]) -> bool {
    is_valid_subject(subject) && !has_wildcard(subject)
}

/// Whether this is a valid name of a queue group: not empty, and without white space.
pub fn is_valid_queue(queue: &[u8]) -> bool {
    !queue.is_empty() && !queue.iter().any(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c))
}

/// Whether some token is `*` or `>`.
pub fn has_wildcard(subject: &[u8]) -> bool {
    tokens(subject).any(|t| t == b"*" || t == b">")
}

/// Whether some token is empty.
pub(crate) fn has_empty_token(subject: &[u8]) -> bool {
    let mut before = b'.';
    for &byte in subject {
        if byte == b'.' && before == b'.' {
            return true;
        }
        before = byte;
    }
    before == b'.'
}

/// Whether a message on `subject`, whose tokens are taken literally, reaches a subscription on `pattern`.
pub fn matches(subject: &[u8], pattern: &[u8]) -> bool {
    let mut subject = tokens(subject);
    let mut pattern = tokens(pattern);
    loop {
        match (subject.next(), pattern.next()) {
            (Some(_), Some(b">")) => return pattern.next().is_none(),
            (Some(s), Some(p)) if p == b"*" || s == p => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether every subject that `inner` matches is matched by `outer`; both may hold wildcards.
pub fn is_subset(inner: &[u8], outer: &[u8]) -> bool {
    let mut inner = tokens(inner);
    let mut outer = tokens(outer);
    loop {
        match (inner.next(), outer.next()) {
            (Some(_), Some(b">")) => return true,
            (Some(b">"), _) => return false,
            (Some(b"*"), Some(o)) if o != b"*" => return false,
            (Some(i), Some(o)) if o == b"*" || i == o => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether some subject is matched by both; both may hold wildcards.
pub fn overlaps(a: &[u8], b: &[u8]) -> bool {
    let mut a = tokens(a);
    let mut b = tokens(b);
    loop {
        match (a.next(), b.next()) {
            (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
            (Some(x), Some(y)) if x == b"*" || y == b"*" || x == y => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity() {
        for (subject, subscribe, publish) in [
            ("foo", true, true),
            ("foo.bar", true, true),
            ("foo.*", true, false),
            ("foo.>", true, false),
            (">", true, false),
            ("foo*", true, true),
            (">a", true, true),
            ("foo.>.bar", false, false),
            ("", false, false),
            (".foo", false, false),
            ("foo.", false, false),
            ("foo..bar", false, false),
            ("foo bar", false, false),
            ("größe.ö", true, true),
        ] {
            assert_eq!(is_valid_subject(subject.as_bytes()), subscribe, "subscribe {subject:?}");
            assert_eq!(is_valid_literal(subject.as_bytes()), publish, "publish {subject:?}");
        }
    }

    #[test]
    fn matching() {
        for (subject, pattern, expected) in [
            ("foo", "foo", true),
            ("foo", ">", true),
            ("foo", "foo.>", false),
            ("foo.bar", "foo.>", true),
            ("foo.bar", "foo.*", true),
            ("foo.bar.baz", "foo.*", false),
            ("foo.bar.baz", "*.bar.>", true),
            ("foo.*", "foo.*", true),
            ("foo.>", "foo.*", true),
            ("foo", "bar", false),
        ] {
            assert_eq!(matches(subject.as_bytes(), pattern.as_bytes()), expected, "{subject} in {pattern}");
        }
    }

    #[test]
    fn subsets_and_overlaps() {
        for (inner, outer, subset, overlap) in [
            ("foo.*", "foo.>", true, true),
            ("foo.>", "foo.*", false, true),
            ("foo.>", "foo.>", true, true),
            ("foo.bar", "*.*", true, true),
            ("*.bar", "foo.*", false, true),
            ("foo", "foo.>", false, false),
            (">", "foo", false, true),
            ("a.b", "a.c", false, false),
        ] {
            assert_eq!(is_subset(inner.as_bytes(), outer.as_bytes()), subset, "{inner} subset of {outer}");
            assert_eq!(overlaps(inner.as_bytes(), outer.as_bytes()), overlap, "{inner} overlaps {outer}");
        }
    }
}
