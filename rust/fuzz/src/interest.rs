//! The index under test beside a plain list of subscriptions; the results of both must be equal.

use std::collections::BTreeMap;
use stonechat_subject::{
    Generations, MatchCache, Matches, Sublist, is_subset, is_valid_subject, matches, overlaps,
};

/// Subscriptions that one `*` line adds: enough for the index to create and remove its inner index of a subject.
const MANY: usize = 40;
/// Maximum number of subscriptions, so that the plain list stays fast enough.
const SUBSCRIPTIONS_MAX: usize = 1000;
const SEED: u64 = 7;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subscription {
    subject: Vec<u8>,
    queue: Option<Vec<u8>>,
    id: u32,
}

/// The subscriptions that a subject reaches, in a comparable order: plain ones, and those of each queue group.
type Reached = (Vec<u32>, BTreeMap<Vec<u8>, Vec<u32>>);

/// The index, its generations, a match cache, and the list with which they are compared.
pub struct Interest {
    index: Sublist<u32>,
    generations: Generations,
    cache: MatchCache<u32, usize>,
    list: Vec<Subscription>,
    next_id: u32,
}

impl Default for Interest {
    fn default() -> Self {
        Self::new()
    }
}

impl Interest {
    /// Creates an index without subscriptions.
    pub fn new() -> Self {
        Self {
            index: Sublist::new(SEED),
            generations: Generations::new(SEED),
            cache: MatchCache::new(SEED),
            list: Vec::new(),
            next_id: 0,
        }
    }

    /// Performs the operation on a line. `+subject [queue]` subscribes. `*subject [queue]` subscribes forty times. `-N` ends the
    /// Nth subscription, or one that does not exist if there is none. `!N` subscribes the Nth again, which must fail. Any other
    /// line is a subject to look up.
    pub fn step(&mut self, line: &[u8]) {
        let Some((&verb, rest)) = line.split_first() else { return };
        match verb {
            b'+' => self.subscribe(rest),
            b'*' => (0..MANY).for_each(|_| self.subscribe(rest)),
            b'-' => self.unsubscribe(rest),
            b'!' => {
                if let Some(s) = self.nth(rest).cloned() {
                    assert!(!self.index.insert(&s.subject, s.queue.as_deref(), s.id), "{s:?} is there");
                }
            }
            _ => self.look_up(line),
        }
        assert_eq!(self.index.len(), self.list.len());
        assert_eq!(self.index.is_empty(), self.list.is_empty());
    }

    /// Ends all subscriptions, the first one first, and checks that no interest remains.
    pub fn clear(&mut self) {
        let subjects: Vec<_> = self.list.iter().map(|s| s.subject.clone()).collect();
        while !self.list.is_empty() {
            self.unsubscribe(b"0");
        }
        assert!(self.index.is_empty());
        for subject in subjects {
            assert!(!self.index.has_interest(&subject), "{}", subject.escape_ascii());
        }
    }

    fn subscribe(&mut self, text: &[u8]) {
        let mut parts = text.splitn(2, |&b| b == b' ');
        let subject = parts.next().unwrap_or_default().to_vec();
        let queue = parts.next().filter(|q| !q.is_empty()).map(<[u8]>::to_vec);
        if !is_valid_subject(&subject) || self.list.len() >= SUBSCRIPTIONS_MAX {
            return;
        }
        self.next_id += 1;
        let new = Subscription { subject, queue, id: self.next_id };
        for old in self.list.iter().take(8) {
            compare_subjects(&old.subject, &new.subject);
        }
        assert!(self.index.insert(&new.subject, new.queue.as_deref(), new.id), "{new:?} is new");
        self.generations.bump(&new.subject);
        self.list.push(new);
    }

    fn nth(&self, text: &[u8]) -> Option<&Subscription> {
        let number: usize = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
        self.list.get(number.checked_rem(self.list.len())?)
    }

    fn unsubscribe(&mut self, text: &[u8]) {
        let Some(old) = self.nth(text).cloned() else {
            assert!(!self.index.remove(text, None, &u32::MAX), "nobody has this id");
            return;
        };
        let missing = self.next_id + 1;
        assert!(!self.index.remove(&old.subject, old.queue.as_deref(), &missing), "{old:?} with another id");
        assert!(!self.index.remove(&old.subject, Some(b"no such queue"), &old.id), "{old:?}, other queue");
        assert!(self.index.remove(&old.subject, old.queue.as_deref(), &old.id), "{old:?} was there");
        assert!(!self.index.remove(&old.subject, old.queue.as_deref(), &old.id), "{old:?} went twice");
        self.generations.bump(&old.subject);
        self.list.retain(|s| *s != old);
    }

    fn look_up(&mut self, subject: &[u8]) {
        let expected = self.expected(subject);
        let mut found = Matches::default();
        self.index.collect(subject, &mut found);
        assert_eq!(reached(&found), expected, "{} reaches", subject.escape_ascii());
        let nobody = expected.0.is_empty() && expected.1.is_empty();
        assert_eq!(self.index.has_interest(subject), !nobody, "{}", subject.escape_ascii());
        if let Some((kept, &verdict)) = self.cache.get(subject, &self.generations) {
            assert_eq!(reached(kept), expected, "{} reaches, says the cache", subject.escape_ascii());
            assert_eq!(verdict, subject.len(), "the verdict of another subject");
        } else if self.cache.should_keep(subject) {
            let stamp = self.generations.stamp(subject);
            self.cache.keep(subject, stamp, found, subject.len(), &self.generations);
            assert!(self.cache.get(subject, &self.generations).is_some(), "what was kept is there");
        }
    }

    fn expected(&self, subject: &[u8]) -> Reached {
        let mut expected = Reached::default();
        for s in self.list.iter().filter(|s| reaches(subject, &s.subject)) {
            match &s.queue {
                None => expected.0.push(s.id),
                Some(queue) => expected.1.entry(queue.clone()).or_default().push(s.id),
            }
        }
        expected
    }
}

fn reached(found: &Matches<u32>) -> Reached {
    let sorted = |ids: &[u32]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let queues: BTreeMap<_, _> = found.queues.iter().map(|q| (q.name.to_vec(), sorted(&q.members))).collect();
    assert_eq!(queues.len(), found.queues.len(), "a queue group is there twice");
    (sorted(&found.plain), queues)
}

/// Whether a message on `subject` reaches a subscription on `pattern`: the definition of matching, token by token.
fn reaches(subject: &[u8], pattern: &[u8]) -> bool {
    let subject: Vec<&[u8]> = subject.split(|&b| b == b'.').collect();
    let pattern: Vec<&[u8]> = pattern.split(|&b| b == b'.').collect();
    if subject.iter().any(|token| token.is_empty()) {
        return false;
    }
    let (pattern, open) = match pattern.split_last() {
        Some((&b">", before)) => (before, true),
        _ => (&pattern[..], false),
    };
    let long_enough = if open { subject.len() > pattern.len() } else { subject.len() == pattern.len() };
    long_enough && pattern.iter().zip(&subject).all(|(p, s)| *p == b"*" || p == s)
}

/// Checks that the crate's statements about two valid subjects are consistent.
fn compare_subjects(a: &[u8], b: &[u8]) {
    let shown = || format!("{} and {}", a.escape_ascii(), b.escape_ascii());
    assert_eq!(overlaps(a, b), overlaps(b, a), "{}", shown());
    assert!(!is_subset(a, b) || overlaps(a, b), "{}", shown());
    assert!(!(is_subset(a, b) && is_subset(b, a)) || a == b, "{}", shown());
    if !stonechat_subject::has_wildcard(a) {
        assert_eq!(matches(a, b), reaches(a, b), "{}", shown());
        assert_eq!(matches(a, b), is_subset(a, b), "{}", shown());
        assert_eq!(matches(a, b), overlaps(a, b), "{}", shown());
    }
}
