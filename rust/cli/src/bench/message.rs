//! The messages of a measurement: their subjects, headers and bodies, and the pace at which they are sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::wire::{number, publish};

/// The longest sleep before a check whether the run was stopped.
const GLANCE: Duration = Duration::from_millis(100);

/// The subjects of consecutive messages.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// The common beginning of all subjects.
    pub(super) prefix: String,
    /// The numbers at their ends; `None` if all messages have the same subject.
    pub(super) numbers: Option<Numbers>,
}

/// The numbers of consecutive subjects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// How many different numbers there are; zero means no limit.
    pub(super) max: u64,
    pub(super) is_random: bool,
}

impl Subjects {
    /// Appends the subject of the nth message.
    pub(super) fn write(&self, output: &mut Vec<u8>, n: u64, chance: &mut Chance) {
        output.extend_from_slice(self.prefix.as_bytes());
        match self.numbers {
            None => {}
            Some(Numbers { max: 0, .. }) => number(output, n),
            Some(Numbers { max, is_random: true }) => number(output, chance.next() % max),
            Some(Numbers { max, is_random: false }) => number(output, n % max),
        }
    }
}

/// A generator of random numbers that repeats them in each run (SplitMix64).
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The messages of a measurement.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    pub(super) subjects: Subjects,
    /// Header lines, each with its line end.
    pub(super) headers: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Prefix of the message ids; without it, messages have none.
    pub(super) id: Option<String>,
}

impl Messages {
    /// Whether all messages are identical bytes.
    pub(super) fn are_equal(&self) -> bool {
        self.subjects.numbers.is_none() && self.id.is_none()
    }
}

/// An encoder of messages; its buffers are reused from one message to the next.
pub(super) struct Encoder<'a> {
    messages: &'a Messages,
    chance: Chance,
    subject: Vec<u8>,
    headers: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(messages: &'a Messages, seed: u64) -> Self {
        Self { messages, chance: Chance(seed), subject: Vec::new(), headers: Vec::new() }
    }

    /// Appends the nth message, with additional header lines.
    pub(super) fn encode(
        &mut self,
        output: &mut Vec<u8>,
        n: u64,
        reply: &[u8],
        more: impl FnOnce(&mut Vec<u8>),
    ) {
        self.subject.clear();
        self.messages.subjects.write(&mut self.subject, n, &mut self.chance);
        self.headers.clear();
        self.headers.extend_from_slice(BEGIN);
        self.headers.extend_from_slice(&self.messages.headers);
        if let Some(id) = &self.messages.id {
            self.headers.extend_from_slice(b"Nats-Msg-Id: ");
            self.headers.extend_from_slice(id.as_bytes());
            number(&mut self.headers, n);
            self.headers.extend_from_slice(b"\r\n");
        }
        more(&mut self.headers);
        match self.headers.len() == BEGIN.len() {
            true => self.headers.clear(),
            false => self.headers.extend_from_slice(b"\r\n"),
        }
        publish(output, &self.subject, reply, &self.headers, &self.messages.body);
    }
}

/// The first line of a header block.
const BEGIN: &[u8] = b"NATS/1.0\r\n";

/// The pace at which a client sends.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<f64>,
    sleep: Option<Duration>,
    began: Instant,
    sent: u64,
}

impl Pace {
    /// Returns a pace of at most `rate` messages a second, with a pause of `sleep` after each message.
    pub(super) fn new(rate: Option<f64>, sleep: Option<Duration>) -> Self {
        Self { rate, sleep, began: Instant::now(), sent: 0 }
    }

    /// Waits until a message may be sent, and returns how many of the wanted ones may be; zero if the run was stopped.
    pub(super) fn allowed(&mut self, wanted: u64, stop: &AtomicBool) -> u64 {
        if let Some(sleep) = self.sleep.filter(|_| self.sent > 0) {
            pause(Instant::now() + sleep, stop);
        }
        let mut allowed = if self.sleep.is_some() { wanted.min(1) } else { wanted };
        if let Some(rate) = self.rate {
            let due = |count: u64| self.began + Duration::from_secs_f64(count as f64 / rate);
            pause(due(self.sent), stop);
            let reached = (self.began.elapsed().as_secs_f64() * rate) as u64 + 1;
            allowed = allowed.min(reached.saturating_sub(self.sent).max(1));
        }
        self.sent += allowed;
        if stop.load(Ordering::Relaxed) { 0 } else { allowed }
    }
}

/// Sleeps until a time, or until the run is stopped.
fn pause(until: Instant, stop: &AtomicBool) {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep(left.min(GLANCE));
    }
}

/// Returns a body of this size in bytes.
pub(super) fn filler(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(numbers: Option<Numbers>, id: Option<&str>) -> Messages {
        let subjects = Subjects { prefix: if numbers.is_some() { "a." } else { "a" }.to_owned(), numbers };
        Messages { subjects, headers: Vec::new(), body: filler(3), id: id.map(str::to_owned) }
    }

    fn encoded(messages: &Messages, n: u64) -> String {
        let mut output = Vec::new();
        Encoder::new(messages, 7).encode(&mut output, n, b"", |_| {});
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_message_without_headers_has_no_block() {
        assert_eq!(encoded(&messages(None, None), 5), "PUB a 3\r\nabc\r\n");
        let text = encoded(&messages(None, Some("run-")), 5);
        assert_eq!(text, "HPUB a 32 35\r\nNATS/1.0\r\nNats-Msg-Id: run-5\r\n\r\nabc\r\n");
    }

    #[test]
    fn numbers_stay_below_their_limit() {
        let many = |max, is_random| messages(Some(Numbers { max, is_random }), None);
        assert_eq!(encoded(&many(4, false), 5), "PUB a.1 3\r\nabc\r\n");
        assert_eq!(encoded(&many(0, false), 5), "PUB a.5 3\r\nabc\r\n");
        for n in 0..20 {
            let text = encoded(&many(4, true), n);
            assert!(["a.0 ", "a.1 ", "a.2 ", "a.3 "].iter().any(|subject| text.contains(subject)), "{text}");
        }
    }

    #[test]
    fn a_pace_allows_no_more_than_its_rate() {
        let stop = AtomicBool::new(false);
        let mut pace = Pace::new(Some(1000.0), None);
        let began = Instant::now();
        let mut sent = 0;
        while sent < 20 {
            sent += pace.allowed(5, &stop);
        }
        // The first message goes at once.
        assert!(began.elapsed() >= Duration::from_millis(14), "{:?}", began.elapsed());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(pace.allowed(5, &stop), 0);
    }
}
