//! The script of a session: protocol text, with a few bytes that never occur in UTF-8 as instructions.
//!
//! A seed is thus mostly text that a client would send, and a fuzzer that flips, copies and joins bytes creates new scripts.

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes arrive in one read.
    Read(Vec<u8>),
    /// From here on, the first (`0xf0`) or the second (`0xf1`) client acts.
    Actor(usize),
    /// `0xf3`: the client stops reading.
    StopReading,
    /// `0xf4`: the client reads again.
    ReadAgain,
    /// `0xf5`: one second passes. `0xf6`: 200 seconds pass.
    Wait(u64),
    /// `0xf7`: the configuration is reloaded with other settings.
    Reload,
    /// `0xf8`: the client hangs up, and a new client takes its place.
    HangUp,
    /// `0xfa`: lame duck mode begins.
    LameDuck,
    /// `0xfb`: from here on, reads return single bytes, or whole pieces again.
    SingleBytes,
    /// `0xfc`, and a number: the client's socket takes at most this many bytes in one write; 0 means no limit.
    WriteSize(usize),
}

/// Bytes for each count of `0xf9`, which is followed by the count: large messages from small inputs.
const FILLER: usize = 64;

/// Returns the steps of an input.
pub fn parse(data: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut read = Vec::new();
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        let step = match byte {
            0xf0 | 0xf1 => Step::Actor(usize::from(byte - 0xf0)),
            // This byte only ends the read.
            0xf2 => Step::Read(Vec::new()),
            0xf3 => Step::StopReading,
            0xf4 => Step::ReadAgain,
            0xf5 => Step::Wait(1),
            0xf6 => Step::Wait(200),
            0xf7 => Step::Reload,
            0xf8 => Step::HangUp,
            0xf9 => {
                let count = bytes.next().unwrap_or(1);
                read.resize(read.len() + usize::from(count) * FILLER, b'x');
                continue;
            }
            0xfa => Step::LameDuck,
            0xfb => Step::SingleBytes,
            0xfc => Step::WriteSize(usize::from(bytes.next().unwrap_or(0))),
            _ => {
                read.push(byte);
                continue;
            }
        };
        if !read.is_empty() {
            steps.push(Step::Read(std::mem::take(&mut read)));
        }
        if step != Step::Read(Vec::new()) {
            steps.push(step);
        }
    }
    if !read.is_empty() {
        steps.push(Step::Read(read));
    }
    steps
}
