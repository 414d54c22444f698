//! Bytes of a client, parsed at once and in pieces: both must give the same operations and the same error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::random::Random;
use stonechat_fuzz::wire::{self, Heard};
use stonechat_wire::Parser;

fuzz_target!(|data: &[u8]| {
    let [settings, seed, input @ ..] = data else { return };
    let parser = parser(*settings);
    let whole = wire::hear(&parser, [input]);
    let single_bytes = wire::hear(&parser, input.chunks(1));
    assert_same(&whole, &single_bytes, "single bytes");
    let mut random = Random::new(*seed);
    let mut rest = input;
    let pieces = std::iter::from_fn(|| {
        let (piece, behind) = rest.split_at_checked(1 + random.below(24)).unwrap_or((rest, &[]));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    assert_same(&whole, &wire::hear_when_needed(&parser, pieces), "pieces");
});

/// Returns a parser with limits chosen by the low bits of a printable character.
fn parser(settings: u8) -> Parser {
    Parser {
        headers: settings & 1 == 0,
        max_control_line: [64, 16, 1024, 4096][usize::from(settings >> 1 & 3)],
        max_payload: if settings & 8 == 0 { 1000 } else { 10 },
    }
}

fn assert_same(whole: &Heard, pieces: &Heard, how: &str) {
    assert_eq!(whole.operations, pieces.operations, "operations, in {how}");
    assert_eq!(whole.error, pieces.error, "error, in {how}");
    assert_eq!(whole.rest, pieces.rest, "bytes that wait, in {how}");
}
