//! Subject transforms: mappings of subjects of one form to subjects of another form (ADR-30).
//!
//! The destination's tokens are text, references to the source's wildcards (`$1`, `{{wildcard(1)}}`) or functions of
//! them (`{{partition(10,1)}}`, `{{split(1,-)}}` ...). Rules, texts and edge cases are those of nats-server 2.15. An
//! index below 1 means the first token. Without wildcards in the source only `partition` and `random` may be used, and
//! `partition` then hashes the whole subject.

use std::fmt;

use crate::subject::{is_valid_subject, matches, token_count, tokens};

/// A mapping from one form of subject to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    source: Vec<u8>,
    parts: Vec<Part>,
    /// Number of tokens before the source's `>`, if both sides end in `>`.
    rest: Option<usize>,
}

/// The value of one token of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Token(usize),
    Partition { buckets: u32, tokens: Vec<usize> },
    Random { ceiling: i32 },
    Split { token: usize, delimiter: Vec<u8> },
    Cut { token: usize, at: i32, how: Cut },
}

/// An operation at a distance from one end of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Left,
    Right,
}

/// The reason for which a transform is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformError {
    /// A side is not a valid subject, the destination has a `*`, or only one side ends in `>`.
    BadSubject,
    /// The destination makes subjects that can't be published to.
    BadDestination,
    /// A token of the destination is invalid.
    BadToken {
        /// The token; for an index out of range, followed by the index.
        token: String,
        /// The fault of the token.
        reason: BadToken,
    },
}

/// A fault of a token in a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// The function does not exist.
    UnknownFunction,
    /// The source has fewer wildcards.
    OutOfRange,
    /// The function requires more arguments.
    NotEnoughArguments,
    /// The function takes fewer arguments.
    TooManyArguments,
    /// An argument is not a number, is too large, or can't be part of a subject.
    InvalidArgument,
    /// An import may use only wildcards, so that replies can be mapped back.
    NotForImports,
    /// An import must use each wildcard of the source, for the same reason.
    NotAllWildcards,
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSubject => f.write_str("invalid subject"),
            Self::BadDestination => f.write_str("invalid mapping destination: invalid transform"),
            Self::BadToken { token, reason } => {
                let reason = match reason {
                    BadToken::UnknownFunction => "unknown function",
                    BadToken::OutOfRange => "wildcard index out of range",
                    BadToken::NotEnoughArguments => "not enough arguments passed to the function",
                    BadToken::TooManyArguments => "too many arguments passed to the function",
                    BadToken::InvalidArgument => "function argument is invalid or in the wrong format",
                    BadToken::NotForImports => {
                        "the only mapping function allowed for import transforms is {{Wildcard()}}"
                    }
                    BadToken::NotAllWildcards => "not using all of the token wildcard(s)",
                };
                write!(f, "invalid mapping destination: {reason} in {token}")
            }
        }
    }
}

impl std::error::Error for TransformError {}

impl Transform {
    /// Returns the transform from `source` to `destination`. An empty source means `>`; an empty destination means no
    /// transform.
    pub fn new(source: &[u8], destination: &[u8]) -> Result<Option<Self>, TransformError> {
        Self::build(source, destination, false)
    }

    /// As [`Transform::new`], for imports: only wildcards, and all of them.
    pub fn for_import(source: &[u8], destination: &[u8]) -> Result<Option<Self>, TransformError> {
        Self::build(source, destination, true)
    }

    fn build(source: &[u8], destination: &[u8], import: bool) -> Result<Option<Self>, TransformError> {
        if destination.is_empty() {
            return Ok(None);
        }
        let source = if source.is_empty() { b">" } else { source };
        let ends_open = |s: &[u8]| tokens(s).last() == Some(b">");
        let open = ends_open(source);
        if !is_valid_subject(source) || !has_valid_shape(destination) || open != ends_open(destination) {
            return Err(TransformError::BadSubject);
        }
        let wildcards: Vec<usize> =
            tokens(source).enumerate().filter(|(_, t)| *t == b"*").map(|(i, _)| i).collect();
        let mut used = 0;
        let mut parts = Vec::new();
        for token in tokens(destination) {
            if open && token == b">" {
                break;
            }
            let bad = |reason| TransformError::BadToken {
                token: String::from_utf8_lossy(token).into_owned(),
                reason,
            };
            let function = Function::parse(token).map_err(bad)?;
            if import && !matches!(function, Function::Text | Function::Wildcard(_)) {
                return Err(bad(BadToken::NotForImports));
            }
            if wildcards.is_empty() && !open && function.needs_wildcards() {
                return Err(bad(BadToken::OutOfRange));
            }
            let place = |index: i64| match usize::try_from(index) {
                Ok(i) if i > wildcards.len() => Err(TransformError::BadToken {
                    token: format!("{}: [{index}]", String::from_utf8_lossy(token)),
                    reason: BadToken::OutOfRange,
                }),
                Ok(i) if i > 0 => Ok(wildcards[i - 1]),
                _ => Ok(0),
            };
            used += usize::from(matches!(function, Function::Wildcard(_)));
            parts.push(match function {
                Function::Text => Part::Text(token.to_vec()),
                Function::Wildcard(index) => Part::Token(place(index)?),
                // Without wildcards in the source, the function's token arguments are ignored.
                Function::Partition(buckets, _) if wildcards.is_empty() && !open => {
                    Part::Partition { buckets, tokens: Vec::new() }
                }
                Function::Partition(buckets, indexes) => Part::Partition {
                    buckets,
                    tokens: indexes.into_iter().map(place).collect::<Result<_, _>>()?,
                },
                Function::Random(ceiling) => Part::Random { ceiling },
                Function::Split(index, delimiter) => Part::Split { token: place(index)?, delimiter },
                Function::Cut(how, index, at) => Part::Cut { token: place(index)?, at, how },
            });
        }
        if import && used < wildcards.len() {
            let token = String::from_utf8_lossy(destination).into_owned();
            return Err(TransformError::BadToken { token, reason: BadToken::NotAllWildcards });
        }
        let rest = open.then(|| token_count(source) - 1);
        Ok(Some(Self { source: source.to_vec(), parts, rest }))
    }

    /// Returns whether `subject`, a literal subject, matches the source.
    pub fn matches(&self, subject: &[u8]) -> bool {
        matches(subject, &self.source)
    }

    /// Returns the subject to which `subject` is mapped; it must [match](Self::matches) the source. `random` returns
    /// numbers below 2^31.
    pub fn apply(&self, subject: &[u8], mut random: impl FnMut() -> u32) -> Vec<u8> {
        let source: Vec<&[u8]> = tokens(subject).collect();
        let token = |i: usize| source.get(i).copied().unwrap_or_default();
        let mut out = Vec::with_capacity(subject.len() + 16);
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                out.push(b'.');
            }
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Token(i) => out.extend_from_slice(token(*i)),
                Part::Partition { buckets, tokens } if tokens.is_empty() => {
                    number(&mut out, fnv1a(&[subject]), *buckets)
                }
                Part::Partition { buckets, tokens } => {
                    let key: Vec<&[u8]> = tokens.iter().map(|i| token(*i)).collect();
                    number(&mut out, fnv1a(&key), *buckets);
                }
                Part::Random { ceiling } => {
                    // A remainder has the sign of its dividend, so the sign of the ceiling has no effect.
                    number(&mut out, random() & 0x7fff_ffff, ceiling.unsigned_abs());
                }
                Part::Split { token: i, delimiter } => split(&mut out, token(*i), delimiter),
                Part::Cut { token: i, at, how } => cut(&mut out, token(*i), *at, *how),
            }
        }
        if let Some(first) = self.rest {
            for token in source.iter().skip(first) {
                if !out.is_empty() {
                    out.push(b'.');
                }
                out.extend_from_slice(token);
            }
        }
        out
    }
}

/// Returns whether a destination has no empty token, no `*`, and a `>` only at the end. Functions may contain spaces.
fn has_valid_shape(destination: &[u8]) -> bool {
    let mut open = true;
    tokens(destination).all(|token| {
        let valid = open && !token.is_empty() && token != b"*";
        open = token != b">";
        valid
    })
}

/// Checks that the subjects that `destination` makes can be published to: no empty token, no white space outside
/// functions, and a `>` only at the end.
pub fn check_destination(destination: &[u8]) -> Result<(), TransformError> {
    let mut open = true;
    for token in tokens(destination) {
        let function = token.starts_with(b"{{") && token.ends_with(b"}}");
        let space = token.iter().any(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c));
        if !open || token.is_empty() || (space && !function) {
            return Err(TransformError::BadDestination);
        }
        open = token != b">";
    }
    Ok(())
}

/// A parsed token of a destination.
enum Function {
    Text,
    Wildcard(i64),
    Partition(u32, Vec<i64>),
    Random(i32),
    Split(i64, Vec<u8>),
    Cut(Cut, i64, i32),
}

impl Function {
    fn needs_wildcards(&self) -> bool {
        !matches!(self, Self::Text | Self::Random(_) | Self::Partition(..))
    }

    fn parse(token: &[u8]) -> Result<Self, BadToken> {
        if let Some(index) = token.strip_prefix(b"$") {
            // Many subjects have tokens that begin with a dollar sign; these remain text.
            return Ok(integer(index).map_or(Self::Text, Self::Wildcard));
        }
        let Some(call) =
            token.strip_prefix(b"{{").and_then(|t| t.strip_suffix(b"}}")).filter(|c| !c.is_empty())
        else {
            return Ok(Self::Text);
        };
        let call = call.trim_ascii();
        let (Some(open), Some(inner)) = (call.iter().position(|b| *b == b'('), call.strip_suffix(b")"))
        else {
            return Err(BadToken::UnknownFunction);
        };
        let name = call[..open].trim_ascii_end();
        let args = arguments(&inner[open + 1..]);
        if named(name, &["wildcard"]) {
            return match &args[..] {
                [one] if one.is_empty() => Err(BadToken::NotEnoughArguments),
                [one] => Ok(Self::Wildcard(integer(trim(one)).ok_or(BadToken::InvalidArgument)?)),
                _ => Err(BadToken::TooManyArguments),
            };
        }
        if named(name, &["partition"]) {
            let buckets = integer(trim(&args[0]))
                .filter(|n| *n <= i64::from(i32::MAX))
                .ok_or(BadToken::InvalidArgument)?;
            let indexes = args[1..].iter().map(|a| integer(trim(a))).collect::<Option<_>>();
            // A negative number wraps around, as in nats-server 2.15.
            return Ok(Self::Partition(buckets as u32, indexes.ok_or(BadToken::InvalidArgument)?));
        }
        if named(name, &["random"]) {
            let [one] = &args[..] else { return Err(BadToken::NotEnoughArguments) };
            let ceiling =
                integer(trim(one)).filter(|n| *n <= i64::from(i32::MAX)).ok_or(BadToken::InvalidArgument)?;
            return Ok(Self::Random(ceiling as i32));
        }
        let cuts: [(&[&str], Cut); 6] = [
            (&["split", "from", "left"], Cut::SplitFromLeft),
            (&["split", "from", "right"], Cut::SplitFromRight),
            (&["slice", "from", "left"], Cut::SliceFromLeft),
            (&["slice", "from", "right"], Cut::SliceFromRight),
            (&["left"], Cut::Left),
            (&["right"], Cut::Right),
        ];
        let how = cuts.iter().find(|(words, _)| named(name, words)).map(|(_, how)| *how);
        if how.is_none() && !named(name, &["split"]) {
            return Err(BadToken::UnknownFunction);
        }
        let (index, second) = match &args[..] {
            [] | [_] => return Err(BadToken::NotEnoughArguments),
            [index, second] => (integer(trim(index)).ok_or(BadToken::InvalidArgument)?, second),
            _ => return Err(BadToken::TooManyArguments),
        };
        match how {
            Some(how) => {
                let at = integer(trim(second))
                    .and_then(|n| i32::try_from(n).ok())
                    .ok_or(BadToken::InvalidArgument)?;
                Ok(Self::Cut(how, index, at))
            }
            None if second.contains(&b' ') => Err(BadToken::InvalidArgument),
            None => Ok(Self::Split(index, second.to_vec())),
        }
    }
}

/// Returns whether `name` is the concatenation of `words`, each with its first letter in either case.
fn named(name: &[u8], words: &[&str]) -> bool {
    let mut rest = name;
    for word in words {
        let word = word.as_bytes();
        let Some((head, tail)) = rest.split_at_checked(word.len()) else { return false };
        if head[0].to_ascii_lowercase() != word[0] || head[1..] != word[1..] {
            return false;
        }
        rest = tail;
    }
    rest.is_empty()
}

/// Returns the arguments between commas, without the white space after each comma.
fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = text.split(|b| *b == b',');
    let first = parts.next().unwrap_or_default().to_vec();
    std::iter::once(first).chain(parts.map(|p| p.trim_ascii_start().to_vec())).collect()
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Parses a decimal number with an optional sign.
fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the 32-bit hash FNV-1a of the concatenated `parts`.
fn fnv1a(parts: &[&[u8]]) -> u32 {
    parts
        .iter()
        .flat_map(|p| p.iter())
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn number(out: &mut Vec<u8>, value: u32, buckets: u32) {
    out.extend_from_slice(value.checked_rem(buckets).unwrap_or(0).to_string().as_bytes());
}

/// Writes the parts between delimiters as tokens; empty ones are left out. An empty delimiter splits between characters.
fn split(out: &mut Vec<u8>, token: &[u8], delimiter: &[u8]) {
    let begin = out.len();
    let mut part = |part: &[u8]| {
        if !part.is_empty() {
            if out.len() > begin {
                out.push(b'.');
            }
            out.extend_from_slice(part);
        }
    };
    if delimiter.is_empty() {
        for chunk in token.utf8_chunks() {
            let mut bytes = [0; 4];
            chunk.valid().chars().for_each(|c| part(c.encode_utf8(&mut bytes).as_bytes()));
            chunk.invalid().chunks(1).for_each(&mut part);
        }
        return;
    }
    let mut rest = token;
    while let Some(at) = rest.windows(delimiter.len()).position(|w| w == delimiter) {
        part(&rest[..at]);
        rest = &rest[at + delimiter.len()..];
    }
    part(rest);
}

fn cut(out: &mut Vec<u8>, token: &[u8], at: i32, how: Cut) {
    let at = usize::try_from(at).unwrap_or(0);
    // A token that is too short for the operation stays whole.
    if at == 0 || at >= token.len() {
        out.extend_from_slice(token);
        return;
    }
    let from_right = token.len() - at;
    let (first, then) = match how {
        Cut::SplitFromLeft => (at, token.len()),
        Cut::SplitFromRight => (from_right, token.len()),
        Cut::SliceFromLeft => (0, at),
        Cut::SliceFromRight => (token.len() % at, at),
        Cut::Left => return out.extend_from_slice(&token[..at]),
        Cut::Right => return out.extend_from_slice(&token[from_right..]),
    };
    let (head, tail) = token.split_at(first);
    let mut parts = std::iter::once(head).chain(tail.chunks(then)).filter(|p| !p.is_empty());
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.push(b'.');
        out.extend_from_slice(part);
    }
}
