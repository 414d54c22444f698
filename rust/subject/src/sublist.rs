//! The interest index: it finds the subscriptions that match a subject.
//!
//! Literal subjects are in one hash table, so that a message costs one look-up however many there are. Subjects with
//! wildcards are in a trie of tokens. Neither look-up nor removal recurses: a subject of a hundred thousand tokens,
//! which a large `max_control_line` allows, must not exhaust the stack.

use crate::members::Members;
use crate::queues::Queues;
use crate::subject::{has_empty_token, has_wildcard, tokens};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// An index from subjects, with or without wildcards, to subscriptions `S` and their queue groups.
#[derive(Debug)]
pub struct Sublist<S> {
    literals: HashMap<Box<[u8]>, Subscribers<S>, FixedState>,
    wildcards: Level<S>,
    wildcard_count: usize,
    len: usize,
    hasher: FixedState,
}

/// The receivers of a subject: all plain subscriptions, and one member of each queue group.
#[derive(Debug, Clone)]
pub struct Matches<S> {
    /// Subscriptions without a queue group.
    pub plain: Vec<S>,
    /// The queue groups; a group appears once, whatever subjects its members named.
    pub queues: Vec<QueueMatch<S>>,
}

/// The members of one queue group that match a subject.
#[derive(Debug, Clone)]
pub struct QueueMatch<S> {
    /// The group's name.
    pub name: Arc<[u8]>,
    /// Its members; at least one.
    pub members: Vec<S>,
}

#[derive(Debug)]
struct Level<S> {
    nodes: HashMap<Box<[u8]>, Node<S>, FixedState>,
    star: Option<Box<Node<S>>>,
    rest: Option<Box<Subscribers<S>>>,
}

#[derive(Debug)]
struct Node<S> {
    subscribers: Subscribers<S>,
    next: Option<Box<Level<S>>>,
}

#[derive(Debug)]
struct Subscribers<S> {
    plain: Members<S>,
    queues: Queues<S>,
}

impl<S> Default for Matches<S> {
    fn default() -> Self {
        Self { plain: Vec::new(), queues: Vec::new() }
    }
}

impl<S> Matches<S> {
    /// Returns whether there are no receivers.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }

    /// Returns the number of receivers: plain subscriptions and queue groups.
    #[inline]
    pub fn receivers(&self) -> usize {
        self.plain.len() + self.queues.len()
    }

    /// Removes the receivers and keeps the memory.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.queues.clear();
    }
}

impl<S: Clone + Eq + Hash> Sublist<S> {
    /// Returns an empty index. `seed` keeps clients from choosing subjects that collide.
    pub fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            literals: HashMap::with_hasher(hasher.clone()),
            wildcards: Level::new(&hasher),
            wildcard_count: 0,
            len: 0,
            hasher,
        }
    }

    /// Returns the number of subscriptions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscription; false if it is there already. The subject must be valid.
    pub fn insert(&mut self, subject: &[u8], queue: Option<&[u8]>, subscription: S) -> bool {
        let wild = has_wildcard(subject);
        let subscribers = if wild {
            self.wildcards.subscribers_mut(subject, &self.hasher)
        } else {
            match self.literals.contains_key(subject) {
                true => self.literals.get_mut(subject),
                false => Some(self.literals.entry(subject.into()).or_insert_with(Subscribers::default)),
            }
        };
        let added = subscribers.is_some_and(|s| s.insert(queue, subscription));
        self.len += usize::from(added);
        self.wildcard_count += usize::from(added && wild);
        added
    }

    /// Removes a subscription; false if it was not there.
    pub fn remove(&mut self, subject: &[u8], queue: Option<&[u8]>, subscription: &S) -> bool {
        let wild = has_wildcard(subject);
        let removed = if wild {
            self.wildcards.remove(subject, queue, subscription)
        } else {
            match self.literals.get_mut(subject) {
                Some(subscribers) => {
                    let removed = subscribers.remove(queue, subscription);
                    if subscribers.is_empty() {
                        self.literals.remove(subject);
                    }
                    removed
                }
                None => false,
            }
        };
        self.len -= usize::from(removed);
        self.wildcard_count -= usize::from(removed && wild);
        if self.literals.is_empty() && self.literals.capacity() > 1024 {
            self.literals = HashMap::with_hasher(self.hasher.clone());
        }
        removed
    }

    /// Adds to `found` all receivers of a message on `subject`. The tokens of `subject` are taken literally. A subject
    /// with an empty token has no receivers, as in nats-server 2.15.
    pub fn collect(&self, subject: &[u8], found: &mut Matches<S>) {
        if has_empty_token(subject) {
            return;
        }
        if let Some(subscribers) = self.literals.get(subject) {
            subscribers.collect(found);
        }
        if self.wildcard_count > 0 {
            self.wildcards.collect(subject, found);
        }
    }

    /// Returns whether a message on `subject` has receivers.
    pub fn has_interest(&self, subject: &[u8]) -> bool {
        let mut found = Matches::default();
        self.collect(subject, &mut found);
        !found.is_empty()
    }
}

impl<S> Drop for Sublist<S> {
    fn drop(&mut self) {
        self.wildcards.dismantle();
    }
}

impl<S> Level<S> {
    fn new(hasher: &FixedState) -> Self {
        Self { nodes: HashMap::with_hasher(hasher.clone()), star: None, rest: None }
    }

    /// Frees the levels below in a loop, where the default drop would recurse once for each token.
    fn dismantle(&mut self) {
        let mut pending = Vec::new();
        self.detach(&mut pending);
        while let Some(mut level) = pending.pop() {
            level.detach(&mut pending);
        }
    }

    #[expect(clippy::vec_box, reason = "the boxes come out of the trie as they are")]
    fn detach(&mut self, pending: &mut Vec<Box<Level<S>>>) {
        pending.extend(self.nodes.values_mut().filter_map(|n| n.next.take()));
        pending.extend(self.star.as_mut().and_then(|n| n.next.take()));
    }
}

impl<S: Clone + Eq + Hash> Level<S> {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.star.is_none() && self.rest.is_none()
    }

    /// Returns the subscribers of a valid subject, creating nodes as needed; `None` only for an invalid subject.
    fn subscribers_mut(&mut self, subject: &[u8], hasher: &FixedState) -> Option<&mut Subscribers<S>> {
        let mut level = self;
        let mut rest = tokens(subject).peekable();
        while let Some(token) = rest.next() {
            if token == b">" {
                return Some(level.rest.get_or_insert_default());
            }
            let node: &mut Node<S> = if token == b"*" {
                level.star.get_or_insert_default()
            } else {
                level.nodes.entry(token.into()).or_default()
            };
            if rest.peek().is_none() {
                return Some(&mut node.subscribers);
            }
            level = node.next.get_or_insert_with(|| Box::new(Level::new(hasher)));
        }
        None
    }

    fn child(&self, token: &[u8]) -> Option<&Node<S>> {
        if token == b"*" { self.star.as_deref() } else { self.nodes.get(token) }
    }

    fn child_mut(&mut self, token: &[u8]) -> Option<&mut Node<S>> {
        if token == b"*" { self.star.as_deref_mut() } else { self.nodes.get_mut(token) }
    }

    fn remove(&mut self, subject: &[u8], queue: Option<&[u8]>, subscription: &S) -> bool {
        let path: Vec<&[u8]> = tokens(subject).collect();
        let Some((last, above)) = path.split_last() else { return false };
        // Descends to the level of the last token, where the subscription is.
        let mut level = &mut *self;
        for token in above {
            match level.child_mut(token).and_then(|node| node.next.as_deref_mut()) {
                Some(next) => level = next,
                None => return false,
            }
        }
        let removed = if *last == b">" {
            let removed = level.rest.as_mut().is_some_and(|s| s.remove(queue, subscription));
            if level.rest.as_ref().is_some_and(|s| s.is_empty()) {
                level.rest = None;
            }
            removed
        } else {
            level.child_mut(last).is_some_and(|node| node.subscribers.remove(queue, subscription))
        };
        if removed {
            self.prune(&path);
        }
        removed
    }

    /// Removes empty nodes along a path: finds the uppermost level whose child on the path leads to no subscription.
    fn prune(&mut self, path: &[&[u8]]) {
        let mut cut = 0;
        let mut level = &*self;
        for (depth, token) in path.iter().enumerate() {
            if *token == b">" {
                if !level.is_empty() {
                    return;
                }
                break;
            }
            if depth > 0 && level.entries() > 1 {
                cut = depth;
            }
            let Some(node) = level.child(token) else { return };
            if !node.subscribers.is_empty() {
                cut = depth + 1;
            }
            match node.next.as_deref() {
                Some(next) if depth + 1 < path.len() => level = next,
                Some(next) if !next.is_empty() => return,
                _ => {}
            }
        }
        self.cut(path, cut);
    }

    /// Removes the child `path[depth]` of the level that is `depth` tokens deep, with all levels below it.
    fn cut(&mut self, path: &[&[u8]], depth: usize) {
        let mut level = self;
        for token in &path[..depth] {
            match level.child_mut(token).and_then(|node| node.next.as_deref_mut()) {
                Some(next) => level = next,
                None => return,
            }
        }
        let gone = match path.get(depth) {
            Some(&b"*") => level.star.take().map(|node| *node),
            Some(token) => level.nodes.remove(*token),
            None => None,
        };
        if let Some(mut below) = gone.and_then(|node| node.next) {
            below.dismantle();
        }
    }

    fn entries(&self) -> usize {
        self.nodes.len() + usize::from(self.star.is_some()) + usize::from(self.rest.is_some())
    }

    fn collect(&self, subject: &[u8], found: &mut Matches<S>) {
        // `next` is the branch being walked; the other branches wait on a stack.
        let mut waiting: Vec<(&Level<S>, usize)> = Vec::new();
        let mut next = Some((self, 0));
        while let Some((level, start)) = next {
            next = None;
            if let Some(subscribers) = &level.rest {
                subscribers.collect(found);
            }
            let tail = &subject[start..];
            let end = tail.iter().position(|&b| b == b'.');
            let token = &tail[..end.unwrap_or(tail.len())];
            let named = if level.nodes.is_empty() { None } else { level.nodes.get(token) };
            for node in [level.star.as_deref(), named].into_iter().flatten() {
                match (end, &node.next) {
                    (None, _) => node.subscribers.collect(found),
                    (Some(end), Some(below)) => {
                        if let Some(other) = next.replace((below, start + end + 1)) {
                            waiting.push(other);
                        }
                    }
                    (Some(_), None) => {}
                }
            }
            if next.is_none() {
                next = waiting.pop();
            }
        }
    }
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { subscribers: Subscribers::default(), next: None }
    }
}

impl<S> Default for Subscribers<S> {
    fn default() -> Self {
        Self { plain: Members::default(), queues: Queues::default() }
    }
}

impl<S: Clone + Eq + Hash> Subscribers<S> {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }

    fn insert(&mut self, queue: Option<&[u8]>, subscription: S) -> bool {
        match queue {
            None => self.plain.insert(subscription),
            Some(name) => self.queues.insert(name, subscription),
        }
    }

    fn remove(&mut self, queue: Option<&[u8]>, subscription: &S) -> bool {
        match queue {
            None => self.plain.remove(subscription),
            Some(name) => self.queues.remove(name, subscription),
        }
    }

    fn collect(&self, found: &mut Matches<S>) {
        found.plain.extend_from_slice(self.plain.as_slice());
        if !self.queues.is_empty() {
            self.queues.collect(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(list: &Sublist<u32>, subject: &str) -> (Vec<u32>, Vec<(String, Vec<u32>)>) {
        let mut m = Matches::default();
        list.collect(subject.as_bytes(), &mut m);
        m.plain.sort_unstable();
        let mut queues: Vec<_> = m
            .queues
            .into_iter()
            .map(|mut q| {
                q.members.sort_unstable();
                (String::from_utf8_lossy(&q.name).into_owned(), q.members)
            })
            .collect();
        queues.sort();
        (m.plain, queues)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(String, Option<String>, u32),
        Remove(usize),
    }

    fn pattern() -> impl Strategy<Value = String> {
        let token = prop_oneof![4 => "[a-c]", 2 => Just("*".to_string()), 1 => Just(">x".to_string())];
        (proptest::collection::vec(token, 1..5), any::<bool>())
            .prop_map(|(t, open)| t.join(".") + if open { ".>" } else { "" })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (pattern(), proptest::option::of("[qr]"), 0..40u32).prop_map(|(s, q, id)| Step::Insert(s, q, id)),
            2 => any::<usize>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// After any insertions and removals, the index agrees with a plain list and a plain matcher.
        #[test]
        fn agrees_with_a_plain_matcher(steps in proptest::collection::vec(step(), 1..120),
                                       subjects in proptest::collection::vec("([a-c]|\\*|>x)(\\.([a-c]|\\*|>x)){0,4}", 1..12)) {
            let mut list = Sublist::new(1);
            let mut plain: Vec<(String, Option<String>, u32)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(s, q, id) => {
                        let entry = (s, q, id);
                        let added = list.insert(entry.0.as_bytes(), entry.1.as_deref().map(str::as_bytes), id);
                        prop_assert_eq!(added, !plain.contains(&entry));
                        if added { plain.push(entry); }
                    }
                    Step::Remove(_) if plain.is_empty() => {}
                    Step::Remove(at) => {
                        let (s, q, id) = plain.swap_remove(at % plain.len());
                        prop_assert!(list.remove(s.as_bytes(), q.as_deref().map(str::as_bytes), &id));
                        prop_assert!(!list.remove(s.as_bytes(), q.as_deref().map(str::as_bytes), &id));
                    }
                }
                prop_assert_eq!(list.len(), plain.len());
            }
            for subject in &subjects {
                let hits = plain.iter().filter(|(p, _, _)| crate::matches(subject.as_bytes(), p.as_bytes()));
                let mut expected_plain = Vec::new();
                let mut expected_queues = std::collections::BTreeMap::<String, Vec<u32>>::new();
                for (_, queue, id) in hits {
                    match queue {
                        None => expected_plain.push(*id),
                        Some(q) => expected_queues.entry(q.clone()).or_default().push(*id),
                    }
                }
                expected_plain.sort_unstable();
                expected_queues.values_mut().for_each(|v| v.sort_unstable());
                let (got_plain, got_queues) = found(&list, subject);
                prop_assert_eq!(got_plain, expected_plain);
                prop_assert_eq!(got_queues, expected_queues.into_iter().collect::<Vec<_>>());
            }
            for (s, q, id) in plain {
                prop_assert!(list.remove(s.as_bytes(), q.as_deref().map(str::as_bytes), &id));
            }
            prop_assert!(list.is_empty() && list.literals.is_empty() && list.wildcards.is_empty(), "left over: {:?}", list);
        }
    }

    #[test]
    fn a_subject_of_many_tokens_needs_no_stack() {
        let deep = "a.".repeat(300_000) + "*";
        let mut list = Sublist::new(1);
        assert!(list.insert(deep.as_bytes(), None, 1));
        assert!(list.insert(b"a.b.*", None, 2));
        assert_eq!(found(&list, &deep).0, [1]);
        assert!(list.remove(deep.as_bytes(), None, &1));
        assert!(list.insert(deep.as_bytes(), None, 3));
        drop(list);
    }

    #[test]
    fn an_empty_token_reaches_nobody() {
        let mut list = Sublist::new(1);
        list.insert(b">", None, 1);
        list.insert(b"*.*", None, 2);
        for subject in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(found(&list, subject), (vec![], vec![]), "{subject:?}");
        }
    }

    #[test]
    fn a_queue_group_named_on_several_subjects_is_one() {
        let mut list = Sublist::new(1);
        list.insert(b"a.b", Some(b"q"), 1);
        list.insert(b"a.*", Some(b"q"), 2);
        list.insert(b"a.>", Some(b"r"), 3);
        assert_eq!(found(&list, "a.b"), (vec![], vec![("q".into(), vec![1, 2]), ("r".into(), vec![3])]));
    }
}
