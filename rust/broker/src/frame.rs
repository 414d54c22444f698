//! The wire forms in which receivers get a message.
//!
//! A frame is a head (`MSG subject `), the receiver's own sid, and a tail with the rest of the line and the payload.
//! Head and tail are the same for all receivers of a form. If the publisher wrote its line in the form of a delivery,
//! the tail is the publisher's own bytes.

use crate::router::Message;
use bytes::Bytes;
use stonechat_wire::push_number;

/// Largest capacity in bytes of a composed tail that is kept for the next message.
const SCRATCH_KEPT: usize = 8 << 10;

/// The head of deliveries on one subject, with headers and without.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    pub(crate) fn new(subject: &[u8]) -> Self {
        let mut head = Self(Vec::with_capacity(subject.len() + 6));
        head.set(subject);
        head
    }

    /// Replaces the subject.
    pub(crate) fn set(&mut self, subject: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(b"HMSG ");
        self.0.extend_from_slice(subject);
        self.0.push(b' ');
    }

    #[inline]
    pub(crate) fn get(&self, with_headers: bool) -> &[u8] {
        // "HMSG " without its H is "MSG ".
        self.0.get(usize::from(!with_headers)..).unwrap_or_default()
    }
}

/// A message in one wire form.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'f> {
    pub(crate) head: &'f [u8],
    pub(crate) tail: &'f [u8],
    /// Bytes of headers and body.
    pub(crate) size: usize,
}

/// The wire forms of one message. A rare form is composed when the first receiver requires it.
pub(crate) struct Frames<'f> {
    head: &'f Head,
    usual: Frame<'f>,
    rare: Option<Box<Rare>>,
}

/// The forms that few receivers require.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The tail for receivers without support for headers.
    bare_tail: Vec<u8>,
    /// Tails that all receivers share, with headers and without.
    shared: [Option<Bytes>; 2],
}

impl<'f> Frames<'f> {
    /// Returns the forms of a message. `tail` is the message's own, or the output of [`write_tail`].
    #[inline]
    pub(crate) fn new(head: &'f Head, tail: &'f [u8], message: &Message<'_>) -> Self {
        let usual = Frame { head: head.get(message.header_len.is_some()), tail, size: message.payload.len() };
        Self { head, usual, rare: None }
    }

    /// Returns the forms of a message whose rare forms may exist from an earlier slice.
    pub(crate) fn go_on(
        head: &'f Head,
        tail: &'f [u8],
        message: &Message<'_>,
        rare: Option<Box<Rare>>,
    ) -> Self {
        Self { rare, ..Self::new(head, tail, message) }
    }

    /// Returns the rare forms, for [`Frames::go_on`].
    pub(crate) fn into_rare(self) -> Option<Box<Rare>> {
        self.rare
    }

    /// Returns the form that nearly all receivers get.
    #[inline]
    pub(crate) fn usual(&self) -> Frame<'f> {
        self.usual
    }

    /// Returns the form without headers.
    pub(crate) fn bare(&mut self, message: &Message<'_>) -> Frame<'_> {
        let body = message.payload.get(message.header_len.unwrap_or(0)..).unwrap_or_default();
        let rare = self.rare.get_or_insert_default();
        if rare.bare_tail.is_empty() {
            let bare = Message { header_len: None, payload: body, sizes: b"", tail: None, ..message.clone() };
            write_tail(&mut rare.bare_tail, &bare);
        }
        Frame { head: self.head.get(false), tail: &rare.bare_tail, size: body.len() }
    }

    /// Returns a form's tail in memory that all its receivers share.
    pub(crate) fn shared(&mut self, bare: bool) -> Bytes {
        let rare = self.rare.get_or_insert_default();
        let tail = if bare { &rare.bare_tail } else { self.usual.tail };
        rare.shared[usize::from(bare)].get_or_insert_with(|| Bytes::copy_from_slice(tail)).clone()
    }
}

/// Memory in which tails are composed, kept from message to message.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) head: Head,
    pub(crate) tail: Vec<u8>,
}

impl Scratch {
    /// Frees the memory that a rare large message took.
    pub(crate) fn trim(&mut self) {
        if self.tail.capacity() > SCRATCH_KEPT {
            self.tail = Vec::new();
        }
    }
}

/// Composes the tail of a message whose publisher did not write its line in the form of a delivery.
pub(crate) fn write_tail(out: &mut Vec<u8>, message: &Message<'_>) {
    out.clear();
    out.reserve(message.reply.len() + message.sizes.len() + message.payload.len() + 32);
    out.push(b' ');
    if !message.reply.is_empty() {
        out.extend_from_slice(message.reply);
        out.push(b' ');
    }
    if message.sizes.is_empty() {
        if let Some(header_len) = message.header_len {
            push_number(out, header_len);
            out.push(b' ');
        }
        push_number(out, message.payload.len());
    } else {
        // Any separators between the sizes become one space.
        let sizes = message.sizes.split(|b| matches!(b, b' ' | b'\t' | b'\r')).filter(|p| !p.is_empty());
        for (i, size) in sizes.enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(size);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(message.payload);
    out.extend_from_slice(b"\r\n");
}
