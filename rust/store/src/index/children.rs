//! Lists of child nodes in a few large vectors, so that millions of lists need no heap allocations of their own.

/// Number of capacities, which are powers of two up to the number of byte values.
const CLASSES: usize = 9;

/// The list of a node's children: their first bytes in order, and their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Children {
    block: u32,
    count: u16,
    class: u8,
}

/// All lists of one tree.
#[derive(Debug, Default)]
pub(super) struct Pool {
    classes: [Class; CLASSES],
}

#[derive(Debug, Default)]
struct Class {
    keys: Vec<u8>,
    nodes: Vec<u32>,
    free: Vec<u32>,
}

impl Children {
    pub(super) fn len(self) -> usize {
        usize::from(self.count)
    }

    fn range(self) -> std::ops::Range<usize> {
        let begin = (self.block as usize) << self.class;
        begin..begin + self.len()
    }
}

/// Returns the index of `key` in `keys`. Most lists are short, where a loop is faster than `memchr`.
fn position(keys: &[u8], key: u8) -> Option<usize> {
    if keys.len() <= 16 { keys.iter().position(|k| *k == key) } else { memchr::memchr(key, keys) }
}

impl Pool {
    /// Returns the first bytes, in order.
    pub(super) fn keys(&self, children: Children) -> &[u8] {
        self.classes[usize::from(children.class)].keys.get(children.range()).unwrap_or_default()
    }

    /// Returns the nodes, in the order of their first bytes.
    pub(super) fn nodes(&self, children: Children) -> &[u32] {
        self.classes[usize::from(children.class)].nodes.get(children.range()).unwrap_or_default()
    }

    /// Returns the child whose first byte is `key`.
    pub(super) fn find(&self, children: Children, key: u8) -> Option<u32> {
        position(self.keys(children), key).map(|i| self.nodes(children)[i])
    }

    /// Replaces the child with the first byte `key` by `node`.
    pub(super) fn replace(&mut self, children: Children, key: u8, node: u32) {
        if let Some(i) = position(self.keys(children), key) {
            self.classes[usize::from(children.class)].nodes[children.range()][i] = node;
        }
    }

    /// Adds a child with a new first byte.
    pub(super) fn add(&mut self, children: &mut Children, key: u8, node: u32) {
        if children.count == 0 {
            *children = Children { count: 0, ..self.allocate(0) };
        } else if children.len() == 1 << children.class {
            let larger = Children { count: children.count, ..self.allocate(children.class + 1) };
            self.copy(*children, larger);
            self.free(*children);
            *children = larger;
        }
        let at = self.keys(*children).partition_point(|k| *k < key);
        children.count += 1;
        let class = &mut self.classes[usize::from(children.class)];
        let (keys, nodes) = (&mut class.keys[children.range()], &mut class.nodes[children.range()]);
        let last = keys.len() - 1;
        keys.copy_within(at..last, at + 1);
        nodes.copy_within(at..last, at + 1);
        (keys[at], nodes[at]) = (key, node);
    }

    /// Removes a child.
    pub(super) fn remove(&mut self, children: &mut Children, key: u8) {
        let Some(at) = position(self.keys(*children), key) else { return };
        let class = &mut self.classes[usize::from(children.class)];
        class.keys[children.range()].copy_within(at + 1.., at);
        class.nodes[children.range()].copy_within(at + 1.., at);
        children.count -= 1;
        if children.count == 0 {
            self.free(*children);
            *children = Children::default();
        } else if children.class > 0 && children.len() <= 1 << (children.class - 1) >> 1 {
            let smaller = Children { count: children.count, ..self.allocate(children.class - 1) };
            self.copy(*children, smaller);
            self.free(*children);
            *children = smaller;
        }
    }

    /// Returns the memory that the lists take, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.classes.iter().map(|c| c.keys.capacity() + 4 * (c.nodes.capacity() + c.free.capacity())).sum()
    }

    fn allocate(&mut self, class: u8) -> Children {
        let list = &mut self.classes[usize::from(class)];
        let block = list.free.pop().unwrap_or_else(|| {
            let block = (list.keys.len() >> class) as u32;
            list.keys.resize(list.keys.len() + (1 << class), 0);
            list.nodes.resize(list.nodes.len() + (1 << class), 0);
            block
        });
        Children { block, count: 0, class }
    }

    fn free(&mut self, children: Children) {
        self.classes[usize::from(children.class)].free.push(children.block);
    }

    fn copy(&mut self, from: Children, to: Children) {
        for i in 0..from.len() {
            let (key, node) = (self.keys(from)[i], self.nodes(from)[i]);
            let class = &mut self.classes[usize::from(to.class)];
            class.keys[to.range()][i] = key;
            class.nodes[to.range()][i] = node;
        }
    }
}
