//! A JSON reader that reports the errors of nats-server, in the same order and in the same words.
//!
//! A value is checked as a whole before any part of it is used. It is kept as a flat list of positions in the text, so that
//! neither reading nor dropping it recurses, however deep a client nests it.

mod decode;
mod list;
mod parse;
mod quote;

pub use decode::{DecodeError, Field, Fields, Path};
pub use list::List;
pub use parse::{SyntaxError, parse, parse_whole};

use std::borrow::Cow;

/// The kind of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, as it was written.
    Number,
    /// A string.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    kind: Kind,
    // Positions in the text and in the list of nodes: a client may send millions of values, so the size of a node matters.
    begin: u32,
    end: u32,
    /// The first node that is not within this one.
    next: u32,
}

/// A JSON text that was read.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t [u8],
    nodes: Vec<Node>,
}

/// A value in a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    index: usize,
}

impl<'t> Document<'t> {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, index: 0 }
    }
}

impl<'d> Value<'d> {
    fn node(self) -> Node {
        self.document.nodes[self.index]
    }

    /// The kind of the value.
    pub fn kind(self) -> Kind {
        self.node().kind
    }

    /// The text of the value.
    pub fn raw(self) -> &'d [u8] {
        let node = self.node();
        &self.document.text[node.begin as usize..node.end as usize]
    }

    /// Whether the value is `true`.
    pub fn is_true(self) -> bool {
        self.raw() == b"true"
    }

    /// The content of a string. Invalid text becomes U+FFFD, as in Go.
    pub fn text(self) -> Cow<'d, str> {
        quote::unquote(self.raw())
    }

    /// The elements of an array; none for other kinds.
    pub fn elements(self) -> impl Iterator<Item = Value<'d>> {
        let array = if self.kind() == Kind::Array { self.within() } else { 0..0 };
        self.siblings(array)
    }

    /// The members of an object, in the order of the text; none for other kinds.
    pub fn members(self) -> impl Iterator<Item = (Cow<'d, str>, Value<'d>)> {
        let object = if self.kind() == Kind::Object { self.within() } else { 0..0 };
        let mut values = self.siblings(object);
        std::iter::from_fn(move || Some((values.next()?.text(), values.next()?)))
    }

    fn within(self) -> std::ops::Range<usize> {
        self.index + 1..self.node().next as usize
    }

    fn siblings(self, range: std::ops::Range<usize>) -> impl Iterator<Item = Value<'d>> {
        let document = self.document;
        let mut index = range.start;
        std::iter::from_fn(move || {
            let value = (index < range.end).then_some(Value { document, index })?;
            index = value.node().next as usize;
            Some(value)
        })
    }
}
