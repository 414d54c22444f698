//! Checksums of many pieces of the same bytes.
//!
//! Behind damage, the place of the next record is unknown. Every byte might be the start of one, and the bytes there state its
//! length. Summing up each candidate by itself takes time with the square of the length, and a client may have chosen the bytes
//! to cause this.
//!
//! But a CRC is linear. The sum of a piece follows from two sums: of the bytes up to its start, and of those up to its end. The
//! first one is moved over the second by multiplying it with a power of x.

use std::ops::Range;

use super::Checksum;

/// CRC-32C's polynomial, reflected: the highest bit is the constant term.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x to the power 0.
const ONE: u32 = 1 << 31;
/// Distance in bytes between stored sums.
const STEP: usize = 16;

/// The effect of each byte on a sum.
const BYTES: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = times_x(sum);
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// `LENGTHS[i][n]` is x to the power of the bits in `n * 256^i` bytes.
static LENGTHS: [[u32; 256]; 4] = {
    let mut table = [[ONE; 256]; 4];
    // A byte.
    let mut unit = ONE >> 8;
    let mut digit = 0;
    while digit < 4 {
        let mut n = 1;
        while n < 256 {
            table[digit][n] = times(table[digit][n - 1], unit);
            n += 1;
        }
        unit = times(table[digit][255], unit);
        digit += 1;
    }
    table
};

const fn times_x(a: u32) -> u32 {
    let carry = if a & 1 == 1 { POLYNOMIAL } else { 0 };
    a >> 1 ^ carry
}

/// Returns the product of two polynomials.
const fn times(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, ONE);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = times_x(b);
        bit >>= 1;
    }
    product
}

/// Returns the sum as it is after `len` more zero bytes.
fn moved(mut sum: u32, len: usize) -> u32 {
    for (table, digit) in LENGTHS.iter().zip((len as u32).to_le_bytes()) {
        if digit != 0 {
            sum = times(sum, table[usize::from(digit)]);
        }
    }
    sum
}

fn with(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| sum >> 8 ^ BYTES[usize::from(sum as u8 ^ byte)])
}

/// Sums of some bytes (less than 4 GiB), from which the checksum of any range of them follows.
#[derive(Debug)]
pub struct Ranges {
    /// The sums of the bytes before every `STEP`th byte.
    sums: Vec<u32>,
}

impl Ranges {
    /// Computes the sums in one pass.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sums = Vec::with_capacity(bytes.len() / STEP + 1);
        let mut sum = 0;
        for piece in bytes.chunks(STEP) {
            sums.push(sum);
            sum = with(sum, piece);
        }
        sums.push(sum);
        Self { sums }
    }

    /// Returns the checksum of `begun` continued with `range` of `bytes`, which must be the bytes passed to [`Ranges::of`].
    ///
    /// # Panics
    /// When the range is not within the bytes.
    pub fn finish(&self, begun: &Checksum, bytes: &[u8], range: Range<usize>) -> u32 {
        let before = |at: usize| with(self.sums[at / STEP], &bytes[at / STEP * STEP..at]);
        super::finished(before(range.end) ^ moved(before(range.start) ^ begun.state(), range.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..5000),
            salt: u64,
            position: u64,
            cuts in prop::collection::vec((0..=5000usize, 0..=5000usize), 20),
        ) {
            let ranges = Ranges::of(&bytes);
            for (a, b) in cuts {
                let (a, b) = (a.min(b).min(bytes.len()), a.max(b).min(bytes.len()));
                let expected = Checksum::new(salt, position).with(&bytes[a..b]).finish();
                prop_assert_eq!(ranges.finish(&Checksum::new(salt, position), &bytes, a..b), expected);
            }
        }
    }

    #[test]
    fn long_pieces_too() {
        let bytes: Vec<u8> = (0..70_000_000u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let ranges = Ranges::of(&bytes);
        for range in [0..bytes.len(), 3..69_999_999, 65_535..131_072, 16..16_777_232] {
            let expected = Checksum::new(7, 9).with(&bytes[range.clone()]).finish();
            assert_eq!(ranges.finish(&Checksum::new(7, 9), &bytes, range), expected);
        }
    }
}
