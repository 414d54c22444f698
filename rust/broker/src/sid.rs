//! A client's own id of a subscription.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Longest `sid` in bytes that is stored inline: nearly all clients number their subscriptions.
const INLINE: usize = 16;

/// The `sid` of a subscription. A short one is stored inline, and copied as one piece of fixed size into every
/// delivery.
#[derive(Clone)]
pub struct Sid(Text);

#[derive(Clone)]
enum Text {
    Inline { len: u8, bytes: [u8; INLINE] },
    Long(Box<[u8]>),
}

impl Sid {
    /// Bytes of free capacity, beyond the sid's length, that [`Sid::push_to`] uses.
    pub(crate) const SLACK: usize = INLINE;

    /// Appends the sid to `out`.
    #[inline]
    pub(crate) fn push_to(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Text::Inline { len, bytes } => {
                let end = out.len() + usize::from(*len);
                // A copy of sixteen bytes is one move; a copy of variable length would be a call.
                out.extend_from_slice(bytes);
                out.truncate(end);
            }
            Text::Long(text) => out.extend_from_slice(text),
        }
    }
}

impl From<&[u8]> for Sid {
    fn from(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                Self(Text::Inline { len: text.len() as u8, bytes })
            }
            None => Self(Text::Long(text.into())),
        }
    }
}

impl Deref for Sid {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Text::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE)],
            Text::Long(text) => text,
        }
    }
}

impl Borrow<[u8]> for Sid {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Sid {}

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The hash equals that of the slice, because maps are searched by slice.
        (**self).hash(state);
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn short_and_long_ones_are_what_they_were_made_of() {
        let mut subs = HashMap::new();
        for len in [0, 1, 15, 16, 17, 100] {
            let text: Vec<u8> = (0..len).map(|i| b'a' + i % 26).collect();
            let sid = Sid::from(&text[..]);
            assert_eq!(*sid, text[..]);
            let mut out = b"MSG ".to_vec();
            sid.push_to(&mut out);
            assert_eq!(out, [b"MSG ", &text[..]].concat());
            subs.insert(sid, len);
            assert_eq!(subs.get(&text[..]), Some(&len));
        }
        assert!(std::mem::size_of::<Sid>() <= 24);
    }
}
