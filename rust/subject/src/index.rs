//! An index of subjects with wildcards. It finds the subjects that overlap a given subject, and those that match
//! everything that the given subject matches.
//!
//! Comparing many subjects pairwise takes quadratic time. Here the subjects form a trie of tokens, and a search follows
//! only branches that can match. Subjects with many wildcards can still make a search visit much of the trie. So a
//! search counts the visited nodes, stops when its budget is used up, and can be resumed.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::subject::tokens;

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// An index of subjects, each with the numbers of its owners.
#[derive(Debug)]
pub struct SubjectIndex {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Children by parent and token.
    children: HashTable<u32>,
    hasher: RandomState,
    /// Rises with every change, so that a search detects that its state is outdated.
    version: u64,
    len: usize,
}

#[derive(Debug)]
struct Node {
    token: Box<[u8]>,
    parent: u32,
    /// The first child, and the next and previous sibling. Children are unordered.
    first: u32,
    next: u32,
    before: u32,
    /// Owners of the subject that ends here.
    owners: Vec<u32>,
}

/// The relation of the subjects that a search finds to the sought subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both match at least one common literal subject.
    Overlaps,
    /// The found subject matches every literal subject that the sought subject matches.
    Holds,
}

/// A search that can be interrupted and resumed.
#[derive(Debug, Clone)]
pub struct Search {
    subject: Box<[u8]>,
    relation: Relation,
    version: Option<u64>,
    todo: Vec<Step>,
}

/// A part of the trie that a search must still visit.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A node whose path matches the sought subject up to this offset. After the last token, the offset is the
    /// subject's length plus one.
    Node(u32, usize),
    /// The same for a node and its next siblings.
    Row(u32, usize),
    /// All subjects that end at or below a node or its next siblings.
    Below(u32),
}

/// The result of one call of [`SubjectIndex::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'i> {
    /// The owners of a found subject; more subjects may follow.
    Owners(&'i [u32]),
    /// No more subjects are found.
    End,
    /// The budget is used up; call again to resume.
    More,
}

impl Search {
    /// Returns a search for the subjects that stand in this relation to `subject`.
    pub fn new(subject: &[u8], relation: Relation) -> Self {
        Self { subject: subject.into(), relation, version: None, todo: Vec::new() }
    }
}

impl Default for SubjectIndex {
    fn default() -> Self {
        let root = Node {
            token: Box::default(),
            parent: NONE,
            first: NONE,
            next: NONE,
            before: NONE,
            owners: Vec::new(),
        };
        Self {
            nodes: vec![root],
            free: Vec::new(),
            children: HashTable::new(),
            hasher: RandomState::default(),
            version: 0,
            len: 0,
        }
    }
}

impl SubjectIndex {
    /// Returns the number of subjects, counted once for each owner.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the index has no subjects.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subject of `owner`. Tokens after a `>` are ignored.
    pub fn insert(&mut self, subject: &[u8], owner: u32) {
        self.version += 1;
        self.len += 1;
        let mut node = ROOT;
        for token in tokens(subject) {
            node = self.child(node, token).unwrap_or_else(|| self.add(node, token));
            if token == b">" {
                break;
            }
        }
        self.nodes[node as usize].owners.push(owner);
    }

    /// Removes a subject of `owner`; false if it was not there.
    pub fn remove(&mut self, subject: &[u8], owner: u32) -> bool {
        let mut node = ROOT;
        for token in tokens(subject) {
            let Some(child) = self.child(node, token) else { return false };
            node = child;
            if token == b">" {
                break;
            }
        }
        let owners = &mut self.nodes[node as usize].owners;
        let Some(at) = owners.iter().position(|other| *other == owner) else { return false };
        owners.swap_remove(at);
        self.version += 1;
        self.len -= 1;
        while node != ROOT
            && self.nodes[node as usize].owners.is_empty()
            && self.nodes[node as usize].first == NONE
        {
            node = self.detach(node);
        }
        true
    }

    /// Whether a message on `subject`, whose tokens are taken literally, matches some subject of the index.
    pub fn matches(&self, subject: &[u8]) -> bool {
        let mut waiting = Vec::new();
        let mut next = Some((ROOT, 0));
        while let Some((node, start)) = next {
            next = None;
            let rest = &subject[start..];
            let end = rest.iter().position(|b| *b == b'.');
            let token = &rest[..end.unwrap_or(rest.len())];
            if self.child(node, b">").is_some() {
                return true;
            }
            let star = self.child(node, b"*");
            let named = if token == b"*" || token == b">" { None } else { self.child(node, token) };
            for child in [star, named].into_iter().flatten() {
                match end {
                    None if !self.nodes[child as usize].owners.is_empty() => return true,
                    None => {}
                    Some(end) => {
                        if let Some(other) = next.replace((child, start + end + 1)) {
                            waiting.push(other);
                        }
                    }
                }
            }
            next = next.or_else(|| waiting.pop());
        }
        false
    }

    /// Continues a search to the next subject. Each visited node takes one from `budget`; the search stops when none is
    /// left. If the index has changed since the last call, the search begins anew.
    pub fn next(&self, search: &mut Search, budget: &mut usize) -> Found<'_> {
        if search.version.replace(self.version) != Some(self.version) {
            search.todo.clear();
            search.todo.push(Step::Node(ROOT, 0));
        }
        while let Some(step) = search.todo.pop() {
            if *budget == 0 {
                search.todo.push(step);
                return Found::More;
            }
            *budget -= 1;
            let owners = self.step(search, step);
            if !owners.is_empty() {
                return Found::Owners(owners);
            }
        }
        Found::End
    }

    /// Returns whether the search finds a subject of another owner than `owner`; `None` if the budget is used up first.
    pub fn finds_other(&self, search: &mut Search, owner: u32, budget: &mut usize) -> Option<bool> {
        loop {
            match self.next(search, budget) {
                Found::Owners(owners) if owners.iter().any(|other| *other != owner) => return Some(true),
                Found::Owners(_) => {}
                Found::End => return Some(false),
                Found::More => return None,
            }
        }
    }

    /// Visits one node; returns the owners of the subject found there, if any.
    fn step(&self, search: &mut Search, step: Step) -> &[u32] {
        let (node, at) = match step {
            Step::Node(node, at) => (node, at),
            Step::Row(node, at) => {
                let next = self.nodes[node as usize].next;
                if next != NONE {
                    search.todo.push(Step::Row(next, at));
                }
                // Children that are wildcards are visited separately.
                if matches!(&*self.nodes[node as usize].token, b"*" | b">") {
                    return &[];
                }
                (node, at)
            }
            Step::Below(node) => {
                let known = &self.nodes[node as usize];
                search
                    .todo
                    .extend([known.next, known.first].into_iter().filter(|n| *n != NONE).map(Step::Below));
                return &known.owners;
            }
        };
        let Search { subject, relation, todo, .. } = search;
        let Some(rest) = subject.get(at..) else { return &self.nodes[node as usize].owners };
        let end = rest.iter().position(|b| *b == b'.').unwrap_or(rest.len());
        let (token, behind) = (&rest[..end], at + end + 1);
        let first = self.nodes[node as usize].first;
        match (token, *relation) {
            (b">", Relation::Overlaps) => {
                if first != NONE {
                    todo.push(Step::Below(first));
                }
                return &[];
            }
            (b">", Relation::Holds) => {}
            (b"*", Relation::Overlaps) => {
                if first != NONE {
                    todo.push(Step::Row(first, behind));
                }
                todo.extend(self.child(node, b"*").map(|star| Step::Node(star, behind)));
            }
            (b"*", Relation::Holds) => {
                todo.extend(self.child(node, b"*").map(|star| Step::Node(star, behind)));
            }
            _ => {
                let both = [self.child(node, token), self.child(node, b"*")];
                todo.extend(both.into_iter().flatten().map(|child| Step::Node(child, behind)));
            }
        }
        self.child(node, b">").map_or(&[], |rest| &self.nodes[rest as usize].owners)
    }

    fn hash(hasher: &RandomState, parent: u32, token: &[u8]) -> u64 {
        hasher.hash_one((parent, token))
    }

    fn child(&self, parent: u32, token: &[u8]) -> Option<u32> {
        if self.nodes[parent as usize].first == NONE {
            return None;
        }
        let nodes = &self.nodes;
        let is_child = |child: &u32| {
            let child = &nodes[*child as usize];
            child.parent == parent && *child.token == *token
        };
        self.children.find(Self::hash(&self.hasher, parent, token), is_child).copied()
    }

    fn add(&mut self, parent: u32, token: &[u8]) -> u32 {
        let next = self.nodes[parent as usize].first;
        let node = Node { token: token.into(), parent, first: NONE, next, before: NONE, owners: Vec::new() };
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                number
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.nodes[parent as usize].first = number;
        if next != NONE {
            self.nodes[next as usize].before = number;
        }
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = |child: &u32| {
            let child = &nodes[*child as usize];
            Self::hash(hasher, child.parent, &child.token)
        };
        self.children.insert_unique(hash(&number), number, hash);
        number
    }

    /// Removes a node without children; returns its parent.
    fn detach(&mut self, number: u32) -> u32 {
        let Node { token, parent, next, before, .. } = &mut self.nodes[number as usize];
        let (token, parent, next, before) = (std::mem::take(token), *parent, *next, *before);
        match before {
            NONE => self.nodes[parent as usize].first = next,
            before => self.nodes[before as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].before = before;
        }
        let hash = Self::hash(&self.hasher, parent, &token);
        if let Ok(entry) = self.children.find_entry(hash, |child| *child == number) {
            entry.remove();
        }
        self.free.push(number);
        if self.free.len() + 1 == self.nodes.len() && self.nodes.len() > 1024 {
            self.nodes.truncate(1);
            self.nodes.shrink_to_fit();
            (self.free, self.children) = (Vec::new(), HashTable::new());
        }
        parent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{is_subset, matches, overlaps};
    use proptest::prelude::*;

    fn pattern() -> impl Strategy<Value = String> {
        let token = prop_oneof![4 => "[a-c]", 2 => Just("*".to_string()), 1 => Just("x>".to_string())];
        (proptest::collection::vec(token, 1..5), 0..4u8)
            .prop_map(|(t, open)| t.join(".") + if open == 0 { ".>" } else { "" })
    }

    /// Searches with `step` nodes at a time.
    fn search(index: &SubjectIndex, subject: &str, relation: Relation, step: usize) -> Vec<u32> {
        let mut search = Search::new(subject.as_bytes(), relation);
        let mut found = Vec::new();
        loop {
            let mut budget = step;
            loop {
                match index.next(&mut search, &mut budget) {
                    Found::Owners(owners) => found.extend_from_slice(owners),
                    Found::End => {
                        found.sort_unstable();
                        return found;
                    }
                    Found::More => break,
                }
            }
        }
    }

    proptest! {
        /// After any insertions and removals, a search finds the same as a comparison with each subject, however small
        /// its steps are.
        #[test]
        fn agrees_with_comparing_each(
            subjects in proptest::collection::vec((pattern(), any::<bool>()), 1..60),
            sought in proptest::collection::vec(pattern(), 1..12),
            step in 1..5usize,
        ) {
            let mut index = SubjectIndex::default();
            for (owner, (subject, _)) in subjects.iter().enumerate() {
                index.insert(subject.as_bytes(), owner as u32);
            }
            for (owner, (subject, stays)) in subjects.iter().enumerate() {
                if !stays {
                    prop_assert!(index.remove(subject.as_bytes(), owner as u32));
                    prop_assert!(!index.remove(subject.as_bytes(), owner as u32));
                }
            }
            let left: Vec<(u32, &str)> = subjects.iter().enumerate()
                .filter(|(_, (_, stays))| *stays)
                .map(|(owner, (subject, _))| (owner as u32, subject.as_str()))
                .collect();
            prop_assert_eq!(index.len(), left.len());
            for sought in &sought {
                let meeting = |meets: fn(&[u8], &[u8]) -> bool| -> Vec<u32> {
                    left.iter().filter(|(_, s)| meets(sought.as_bytes(), s.as_bytes())).map(|(o, _)| *o).collect()
                };
                prop_assert_eq!(search(&index, sought, Relation::Overlaps, step), meeting(overlaps));
                prop_assert_eq!(search(&index, sought, Relation::Holds, step), meeting(is_subset));
                prop_assert_eq!(index.matches(sought.as_bytes()), !meeting(matches).is_empty(), "{}", sought);
            }
            for (owner, subject) in left {
                prop_assert!(index.remove(subject.as_bytes(), owner));
            }
            prop_assert!(index.is_empty() && index.children.is_empty() && index.free.len() + 1 == index.nodes.len());
        }
    }

    #[test]
    fn a_step_visits_no_more_than_it_may() {
        let mut index = SubjectIndex::default();
        for i in 0..10_000u32 {
            index.insert(format!("{i}.a").as_bytes(), i);
        }
        let mut search = Search::new(b"*.b", Relation::Overlaps);
        let mut steps = 0;
        loop {
            let mut budget = 100;
            steps += 1;
            match index.next(&mut search, &mut budget) {
                Found::More => assert_eq!(budget, 0),
                Found::End => break,
                Found::Owners(_) => panic!("nothing overlaps"),
            }
        }
        assert!((100..=103).contains(&steps), "{steps}");
    }

    #[test]
    fn a_search_begins_anew_when_the_index_changes() {
        let mut index = SubjectIndex::default();
        index.insert(b"a.b", 1);
        let mut search = Search::new(b"a.>", Relation::Overlaps);
        assert_eq!(index.next(&mut search, &mut 1), Found::More);
        assert!(index.remove(b"a.b", 1));
        index.insert(b"a.c", 2);
        assert_eq!(index.finds_other(&mut search, 1, &mut 100), Some(true));
        assert_eq!(index.finds_other(&mut Search::new(b"a.>", Relation::Overlaps), 2, &mut 100), Some(false));
    }

    #[test]
    fn a_subject_of_many_tokens_needs_no_stack() {
        let deep = "a.".repeat(100_000) + "*";
        let mut index = SubjectIndex::default();
        index.insert(deep.as_bytes(), 1);
        assert_eq!(search(&index, &deep, Relation::Overlaps, 1 << 20), [1]);
        assert!(index.matches(deep.as_bytes()));
        assert!(index.remove(deep.as_bytes(), 1) && index.nodes.len() == 1);
    }
}
