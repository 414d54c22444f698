//! Variable-length integers: seven bits a byte, the lowest first.

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `bytes`; `None` if it is incomplete or above 64 bits.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Most numbers have one or two bytes.
    match **bytes {
        [low, ref rest @ ..] if low < 0x80 => {
            *bytes = rest;
            Some(u64::from(low))
        }
        [low, high, ref rest @ ..] if high < 0x80 => {
            *bytes = rest;
            Some(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        _ => take_word(bytes),
    }
}

/// Does the same as [`take`] for up to eight bytes at once. Walking through records reads several numbers per record.
fn take_word(bytes: &mut &[u8]) -> Option<u64> {
    const MORE: u64 = 0x8080_8080_8080_8080;
    let Some((word, _)) = bytes.split_first_chunk() else { return take_long(bytes) };
    let word = u64::from_le_bytes(*word);
    // The highest bit of the last byte.
    let last = (!word & MORE).trailing_zeros();
    let Some((_, rest)) = bytes.split_at_checked(last as usize / 8 + 1).filter(|_| last < u64::BITS) else {
        return take_long(bytes);
    };
    *bytes = rest;
    let word = word & !MORE & (u64::MAX >> (u64::BITS - 1 - last));
    // Join the groups of seven bits: by two, by four, by eight.
    let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
    Some(word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4)
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // A number above 64 bits was never written.
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes `len` bytes off the front.
pub fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_is_taken(values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 64)), 0..50)) {
            let mut bytes = Vec::new();
            for value in &values {
                put(&mut bytes, *value);
            }
            let mut rest = &bytes[..];
            for value in values {
                prop_assert_eq!(take(&mut rest), Some(value));
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take(&mut rest), None);
        }

        /// The fast paths decode all bytes as the byte-by-byte path does.
        #[test]
        fn shortcuts_change_nothing(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0xff)], 0..14)) {
            let (mut short, mut long) = (&bytes[..], &bytes[..]);
            let (got, expected) = (take(&mut short), take_long(&mut long));
            prop_assert_eq!(got, expected);
            prop_assert!(got.is_none() || short == long);
        }

        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut rest = &bytes[..];
            while take(&mut rest).is_some() {}
        }
    }
}
