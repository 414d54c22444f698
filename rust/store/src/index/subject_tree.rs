//! A map from subjects to values: a radix tree without a heap object per subject. 10 million subjects are a handful of vectors.
//!
//! A node stands for the bytes on the way to it. It may have a value, children, or both (`a` and `a.b`). Only the root may
//! have neither, and no other node has one child and no value.

use std::ops::ControlFlow;

use super::Filter;
use super::children::{Children, Pool};
use super::filter::Matched;
use crate::visits;

/// The number that stands for "no value".
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// Offset in `texts` of the node's bytes, which follow those of its parents. The first one is its key among its siblings.
    text: u32,
    text_len: u32,
    children: Children,
    value: u32,
}

/// A map from subjects to values, in byte order.
#[derive(Debug)]
pub struct SubjectTree<V> {
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    values: Vec<V>,
    free_values: Vec<u32>,
    pool: Pool,
    texts: Vec<u8>,
    /// Bytes of `texts` that no node uses.
    garbage: usize,
}

impl<V: Copy> Default for SubjectTree<V> {
    fn default() -> Self {
        let root = Node { text: 0, text_len: 0, children: Children::default(), value: NONE };
        Self {
            nodes: vec![root],
            free_nodes: Vec::new(),
            values: Vec::new(),
            free_values: Vec::new(),
            pool: Pool::default(),
            texts: Vec::new(),
            garbage: 0,
        }
    }
}

impl<V: Copy> SubjectTree<V> {
    /// Returns the number of subjects.
    pub fn len(&self) -> usize {
        self.values.len() - self.free_values.len()
    }

    /// Whether there are no subjects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory that the tree takes, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.values.capacity() * size_of::<V>()
            + 4 * (self.free_nodes.capacity() + self.free_values.capacity())
            + self.pool.heap_bytes()
            + self.texts.capacity()
    }

    /// Returns the value of `subject`.
    pub fn get(&self, subject: &[u8]) -> Option<&V> {
        self.values.get(self.find(subject)? as usize)
    }

    /// Returns the value of `subject`, for changes.
    pub fn get_mut(&mut self, subject: &[u8]) -> Option<&mut V> {
        let value = self.find(subject)?;
        self.values.get_mut(value as usize)
    }

    /// Returns the value of `subject`, and sets it to `new` first if there is none. Returns `None` if the tree is full: at 4
    /// GiB of text.
    pub fn get_or_insert(&mut self, subject: &[u8], new: V) -> Option<&mut V> {
        if self.texts.len() + subject.len() > u32::MAX as usize || self.nodes.len() + 2 > u32::MAX as usize {
            return None;
        }
        let mut node = ROOT;
        let mut rest = subject;
        while let Some(&key) = rest.first() {
            let Some(child) = self.pool.find(self.nodes[node as usize].children, key) else {
                node = self.add_leaf(node, rest);
                break;
            };
            let text = self.text(child);
            let common = text.iter().zip(rest).take_while(|(a, b)| a == b).count();
            node = if common < text.len() { self.split(node, child, common) } else { child };
            rest = &rest[common..];
        }
        if self.nodes[node as usize].value == NONE {
            let value = self.free_values.pop().unwrap_or_else(|| {
                self.values.push(new);
                (self.values.len() - 1) as u32
            });
            self.values[value as usize] = new;
            self.nodes[node as usize].value = value;
        }
        self.values.get_mut(self.nodes[node as usize].value as usize)
    }

    /// Removes `subject` and returns its value.
    pub fn remove(&mut self, subject: &[u8]) -> Option<V> {
        let (mut parent, mut node) = (ROOT, ROOT);
        let mut above = ROOT;
        let mut rest = subject;
        while let Some(&key) = rest.first() {
            let child = self.pool.find(self.nodes[node as usize].children, key)?;
            rest = rest.strip_prefix(self.text(child))?;
            (above, parent, node) = (parent, node, child);
        }
        let value = std::mem::replace(&mut self.nodes[node as usize].value, NONE);
        if value == NONE {
            return None;
        }
        self.free_values.push(value);
        if node != ROOT {
            match self.nodes[node as usize].children.len() {
                0 => {
                    self.remove_leaf(parent, node);
                    self.join_only_child(above, parent);
                }
                1 => self.join_only_child(parent, node),
                _ => {}
            }
        }
        if self.garbage > self.texts.len() / 2 + 4096 {
            self.collect_garbage();
        }
        Some(self.values[value as usize])
    }

    /// Visits the subjects that match `filter` in byte order, only those behind `after`, until `visit` breaks. A long scan can
    /// stop and continue later behind the last visited subject, whatever was added and removed meanwhile.
    pub fn matches(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut cursor = self.cursor(filter, after);
        while let Some(value) = cursor.next() {
            visit(cursor.subject(), value)?;
        }
        ControlFlow::Continue(())
    }

    /// Does the same as [`SubjectTree::matches`] within `budget`, from which every visited node is subtracted, matching or not.
    /// Moves `after` to where to continue. Returns true if no subjects are left.
    pub fn some_matches(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        mut visit: impl FnMut(&[u8], &V),
    ) -> bool {
        let from = after.take();
        let mut cursor = self.cursor(filter, from.as_deref());
        loop {
            match cursor.step(budget) {
                Step::Found(value) => visit(cursor.subject(), value),
                Step::Paused => {}
                Step::End => return true,
            }
            if *budget == 0 {
                *after = Some(cursor.subject().to_vec());
                return false;
            }
        }
    }

    /// Returns a cursor over the same subjects, for callers that step through them.
    pub fn cursor<'t>(&'t self, filter: &'t Filter, after: Option<&'t [u8]>) -> Cursor<'t, V> {
        let root = Visit { node: ROOT, path_len: 0, state: Filter::start(), next: 0, entered: false };
        Cursor { tree: self, filter, after, path: Vec::new(), stack: vec![root] }
    }

    fn text(&self, node: u32) -> &[u8] {
        let node = &self.nodes[node as usize];
        &self.texts[node.text as usize..(node.text + node.text_len) as usize]
    }

    /// Returns the number of the value of `subject`.
    fn find(&self, subject: &[u8]) -> Option<u32> {
        let mut node = ROOT;
        let mut rest = subject;
        while let Some(&key) = rest.first() {
            node = self.pool.find(self.nodes[node as usize].children, key)?;
            rest = rest.strip_prefix(self.text(node))?;
        }
        Some(self.nodes[node as usize].value)
    }

    fn new_node(&mut self, node: Node) -> u32 {
        if let Some(free) = self.free_nodes.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn add_leaf(&mut self, parent: u32, text: &[u8]) -> u32 {
        let begin = self.texts.len() as u32;
        self.texts.extend_from_slice(text);
        let leaf = self.new_node(Node {
            text: begin,
            text_len: text.len() as u32,
            children: Children::default(),
            value: NONE,
        });
        let mut children = self.nodes[parent as usize].children;
        self.pool.add(&mut children, text[0], leaf);
        self.nodes[parent as usize].children = children;
        leaf
    }

    /// Inserts a node between `parent` and `child`. The child keeps its text behind the first `at` bytes.
    fn split(&mut self, parent: u32, child: u32, at: usize) -> u32 {
        let Node { text, text_len, .. } = self.nodes[child as usize];
        let key = self.texts[text as usize];
        let between =
            self.new_node(Node { text, text_len: at as u32, children: Children::default(), value: NONE });
        let lower = &mut self.nodes[child as usize];
        (lower.text, lower.text_len) = (text + at as u32, text_len - at as u32);
        let mut children = Children::default();
        self.pool.add(&mut children, self.texts[text as usize + at], child);
        self.nodes[between as usize].children = children;
        self.pool.replace(self.nodes[parent as usize].children, key, between);
        between
    }

    fn remove_leaf(&mut self, parent: u32, leaf: u32) {
        let key = self.text(leaf)[0];
        self.garbage += self.nodes[leaf as usize].text_len as usize;
        let mut children = self.nodes[parent as usize].children;
        self.pool.remove(&mut children, key);
        self.nodes[parent as usize].children = children;
        self.free_nodes.push(leaf);
    }

    /// Joins `node` with its child, if it has exactly one child and no value.
    fn join_only_child(&mut self, parent: u32, node: u32) {
        let joined = self.nodes[node as usize];
        if node == ROOT || joined.value != NONE || joined.children.len() != 1 {
            return;
        }
        let child = self.pool.nodes(joined.children)[0];
        let lower = self.nodes[child as usize];
        if joined.text + joined.text_len != lower.text {
            let begin = self.texts.len() as u32;
            for Node { text, text_len, .. } in [joined, lower] {
                self.texts.extend_from_within(text as usize..(text + text_len) as usize);
                self.garbage += text_len as usize;
            }
            self.nodes[child as usize].text = begin;
        } else {
            self.nodes[child as usize].text = joined.text;
        }
        self.nodes[child as usize].text_len = joined.text_len + lower.text_len;
        let key = self.text(child)[0];
        let mut children = joined.children;
        let only = self.pool.keys(children)[0];
        self.pool.remove(&mut children, only);
        self.pool.replace(self.nodes[parent as usize].children, key, child);
        self.free_nodes.push(node);
    }

    /// Rewrites all texts, those of parents before those of children.
    fn collect_garbage(&mut self) {
        let mut texts = Vec::with_capacity(self.texts.len().saturating_sub(self.garbage));
        let mut todo = vec![ROOT];
        while let Some(node) = todo.pop() {
            let begin = texts.len() as u32;
            texts.extend_from_slice(self.text(node));
            self.nodes[node as usize].text = begin;
            todo.extend_from_slice(self.pool.nodes(self.nodes[node as usize].children));
        }
        self.texts = texts;
        self.garbage = 0;
    }
}

/// The result of a cursor's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<V> {
    /// A matching subject was found.
    Found(V),
    /// No subjects are left.
    End,
    /// There may be more, but the budget is used up.
    Paused,
}

/// A cursor over the subjects that match a filter, in byte order.
#[derive(Debug)]
pub struct Cursor<'t, V> {
    tree: &'t SubjectTree<V>,
    filter: &'t Filter,
    after: Option<&'t [u8]>,
    path: Vec<u8>,
    stack: Vec<Visit>,
}

impl<'t, V: Copy> Cursor<'t, V> {
    /// Moves to the next subject and returns its value.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend the subject")]
    pub fn next(&mut self) -> Option<&'t V> {
        match self.step(&mut { usize::MAX }) {
            Step::Found(value) => Some(value),
            Step::End | Step::Paused => None,
        }
    }

    /// Does the same as [`Cursor::next`] within `budget`, from which every visited node is subtracted. After a pause, a new
    /// cursor can continue behind [`Cursor::subject`]. That is always behind the start of this one, however small the budget.
    pub fn step(&mut self, budget: &mut usize) -> Step<&'t V> {
        let Self { tree, filter, after, path, stack } = self;
        while let Some(top) = stack.last_mut() {
            let node = &tree.nodes[top.node as usize];
            path.truncate(top.path_len);
            if !top.entered {
                top.entered = true;
                // Skip the children whose paths are wholly before `after`.
                if let Some(key) = after.and_then(|a| a.strip_prefix(&path[..])).and_then(|rest| rest.first())
                {
                    top.next = tree.pool.keys(node.children).partition_point(|k| k < key);
                } else if after.is_some_and(|a| a > &path[..] && !a.starts_with(path)) {
                    top.next = node.children.len();
                }
                if after.is_none_or(|a| a < &path[..]) {
                    if let Some(value) = tree.values.get(node.value as usize)
                        && filter.accepts(top.state)
                    {
                        return Step::Found(value);
                    }
                    if *budget == 0 {
                        return Step::Paused;
                    }
                }
            }
            let Some(&child) = tree.pool.nodes(node.children).get(top.next) else {
                stack.pop();
                continue;
            };
            top.next += 1;
            visits::note();
            *budget = budget.saturating_sub(1);
            let text = tree.text(child);
            let state = text.iter().try_fold(top.state, |state, byte| filter.advance(state, *byte));
            if let Some(state) = state {
                path.extend_from_slice(text);
                stack.push(Visit { node: child, path_len: path.len(), state, next: 0, entered: false });
            }
        }
        Step::End
    }

    /// Returns the subject that [`Cursor::next`] moved to.
    pub fn subject(&self) -> &[u8] {
        &self.path
    }
}

/// A node on the path of a scan.
#[derive(Debug)]
struct Visit {
    node: u32,
    path_len: usize,
    state: Matched,
    /// The child to be looked at next.
    next: usize,
    entered: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(tree: &SubjectTree<u64>, filter: &str, after: Option<&[u8]>) -> Vec<(Vec<u8>, u64)> {
        let mut found = Vec::new();
        let flow = tree.matches(&Filter::new(filter.as_bytes()), after, |subject, value| {
            found.push((subject.to_vec(), *value));
            ControlFlow::Continue(())
        });
        assert_eq!(flow, ControlFlow::Continue(()));
        found
    }

    fn subject() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]{1,3}|[0-9]{1,2}|\u{e9}", 1..5).prop_map(|tokens| tokens.join("."))
    }

    fn filter() -> impl Strategy<Value = String> {
        let tokens = prop::collection::vec("[ab]{1,2}|[0-9]|\\*", 0..4);
        (tokens, any::<bool>()).prop_map(|(mut tokens, rest)| {
            if rest || tokens.is_empty() {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn agrees_with_a_sorted_map(
            steps in prop::collection::vec((subject(), 0..4u8), 1..300),
            filters in prop::collection::vec(filter(), 1..5),
            after in subject(),
        ) {
            let mut tree = SubjectTree::default();
            let mut map: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for (i, (subject, step)) in steps.iter().enumerate() {
                let key = subject.as_bytes();
                if *step == 0 {
                    prop_assert_eq!(tree.remove(key), map.remove(key));
                } else {
                    *tree.get_or_insert(key, 0).expect("room") += i as u64;
                    *map.entry(key.to_vec()).or_default() += i as u64;
                }
                prop_assert_eq!(tree.len(), map.len());
            }
            for (subject, _) in &steps {
                prop_assert_eq!(tree.get(subject.as_bytes()), map.get(subject.as_bytes()));
            }
            tree.collect_garbage();
            for text in &filters {
                let filter = Filter::new(text.as_bytes());
                let expected: Vec<_> = map.iter().filter(|(s, _)| filter.matches(s)).map(|(s, v)| (s.clone(), *v)).collect();
                prop_assert_eq!(all(&tree, text, None), expected.clone());
                let behind: Vec<_> = expected.into_iter().filter(|(s, _)| &s[..] > after.as_bytes()).collect();
                prop_assert_eq!(all(&tree, text, Some(after.as_bytes())), behind.clone());
                for budget in [0, 1, 5] {
                    let (mut found, mut at) = (Vec::new(), Some(after.as_bytes().to_vec()));
                    loop {
                        crate::visits::take();
                        let put = |subject: &[u8], value: &u64| found.push((subject.to_vec(), *value));
                        let is_all = tree.some_matches(&filter, &mut at, &mut { budget }, put);
                        // The path, and the siblings of the place where it stopped, come on top of the budget.
                        prop_assert!(crate::visits::take() <= budget + 60);
                        if is_all {
                            break;
                        }
                    }
                    prop_assert_eq!(found, behind.clone());
                }
            }
            // Removed subjects must leave nothing behind.
            for subject in map.keys() {
                prop_assert!(tree.remove(subject).is_some());
            }
            prop_assert!(tree.is_empty());
            prop_assert_eq!(tree.nodes.len(), tree.free_nodes.len() + 1);
        }
    }

    #[test]
    fn a_scan_stops_and_goes_on() {
        let mut tree = SubjectTree::default();
        for i in 0..1000u64 {
            tree.get_or_insert(format!("a.{i}").as_bytes(), i);
        }
        let filter = Filter::new(b"a.*");
        let (mut seen, mut last) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let mut batch = 0;
            let after = last.clone();
            let flow = tree.matches(&filter, after.as_deref(), |subject, value| {
                seen.push(*value);
                last = Some(subject.to_vec());
                batch += 1;
                if batch == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if flow.is_continue() {
                break;
            }
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..1000));
    }

    #[test]
    fn subjects_that_come_and_go_take_no_more_room() {
        let mut tree = SubjectTree::default();
        let mut after_first = 0;
        for round in 0..20 {
            for i in 0..2000u64 {
                tree.get_or_insert(format!("orders.{round}.{i}").as_bytes(), i);
            }
            for i in 0..2000u64 {
                assert_eq!(tree.remove(format!("orders.{round}.{i}").as_bytes()), Some(i));
            }
            if round == 3 {
                after_first = tree.heap_bytes();
            }
        }
        assert!(tree.heap_bytes() <= after_first * 2, "{} after {after_first}", tree.heap_bytes());
    }
}
