//! The results of a measurement: a histogram of latencies, and the messages and times of each client.

use std::time::{Duration, Instant};

/// Steps between a power of two and the next, as bits: a latency is exact to within 1.6 %.
const STEPS_BITS: u32 = 6;
const STEPS: usize = 1 << STEPS_BITS;
/// Slots for all numbers of 64 bits.
const SLOTS: usize = (64 - STEPS_BITS as usize + 1) * STEPS;

/// A histogram of latencies in nanoseconds. Recording allocates nothing.
#[derive(Clone)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    count: u64,
    least: u64,
    most: u64,
    sum: f64,
    squares: f64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; SLOTS], count: 0, least: u64::MAX, most: 0, sum: 0.0, squares: 0.0 }
    }

    /// Records one latency.
    pub(super) fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slot(ns)] += 1;
        self.count += 1;
        self.least = self.least.min(ns);
        self.most = self.most.max(ns);
        self.sum += ns as f64;
        self.squares += (ns as f64) * (ns as f64);
    }

    /// Adds the latencies of another client.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn least(&self) -> Duration {
        Duration::from_nanos(if self.count == 0 { 0 } else { self.least })
    }

    pub(super) fn most(&self) -> Duration {
        Duration::from_nanos(self.most)
    }

    pub(super) fn mean(&self) -> Duration {
        nanoseconds(self.sum / self.count.max(1) as f64)
    }

    pub(super) fn deviation(&self) -> Duration {
        let mean = self.sum / self.count.max(1) as f64;
        nanoseconds((self.squares / self.count.max(1) as f64 - mean * mean).max(0.0).sqrt())
    }

    /// Returns the latency that this share of all latencies does not exceed.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(i).clamp(self.least.min(self.most), self.most));
            }
        }
        self.most()
    }

    /// Counts the latencies between ascending limits; the last count is of those at or above the last limit.
    pub(super) fn below(&self, limits: &[u64]) -> Vec<u64> {
        let mut found = vec![0; limits.len() + 1];
        for (i, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let place = limits.partition_point(|limit| *limit <= lower(i));
            found[place] += count;
        }
        found
    }
}

fn nanoseconds(ns: f64) -> Duration {
    Duration::from_nanos(ns.round() as u64)
}

/// Returns the slot of a number.
fn slot(ns: u64) -> usize {
    let bits = 64 - ns.leading_zeros();
    let shift = bits.saturating_sub(STEPS_BITS + 1);
    shift as usize * STEPS + (ns >> shift) as usize
}

/// Returns the least number of a slot.
fn lower(slot: usize) -> u64 {
    let shift = (slot / STEPS).saturating_sub(1);
    ((slot - shift * STEPS) as u64) << shift
}

/// Returns the greatest number of a slot.
fn upper(slot: usize) -> u64 {
    let shift = (slot / STEPS).saturating_sub(1);
    lower(slot).saturating_add((1 << shift) - 1)
}

/// The results of one client.
pub(super) struct Outcome {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// Latencies of its operations, if the operation measures any.
    pub(super) latencies: Option<Latencies>,
}

impl Outcome {
    pub(super) fn seconds(&self) -> f64 {
        self.ended.duration_since(self.began).as_secs_f64().max(1e-9)
    }

    pub(super) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds()
    }

    pub(super) fn byte_rate(&self) -> f64 {
        self.bytes as f64 / self.seconds()
    }
}

/// The results of all clients at one server.
pub(super) struct Run {
    pub(super) server: String,
    pub(super) clients: Vec<Outcome>,
    pub(super) latencies: Option<Latencies>,
    /// Samples of the progress: seconds since the beginning, and messages processed until then.
    pub(super) samples: Vec<(f64, u64)>,
}

impl Run {
    pub(super) fn new(server: String, clients: Vec<Outcome>, samples: Vec<(f64, u64)>) -> Self {
        let latencies = clients.iter().filter_map(|client| client.latencies.as_ref()).fold(
            None,
            |all: Option<Latencies>, one| {
                let mut all = all.unwrap_or_else(Latencies::new);
                all.merge(one);
                Some(all)
            },
        );
        Self { server, clients, latencies: latencies.filter(|all| all.count() > 0), samples }
    }

    pub(super) fn messages(&self) -> u64 {
        self.clients.iter().map(|client| client.messages).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.clients.iter().map(|client| client.bytes).sum()
    }

    /// Returns the time from the start of the first client to the end of the last.
    pub(super) fn seconds(&self) -> f64 {
        let began = self.clients.iter().map(|client| client.began).min();
        let ended = self.clients.iter().map(|client| client.ended).max();
        let took = began.zip(ended).map(|(began, ended)| ended.duration_since(began).as_secs_f64());
        took.unwrap_or_default().max(1e-9)
    }

    pub(super) fn rate(&self) -> f64 {
        self.messages() as f64 / self.seconds()
    }

    pub(super) fn byte_rate(&self) -> f64 {
        self.bytes() as f64 / self.seconds()
    }

    /// Returns the messages a second between the samples, each with the time of the later sample.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        let pairs = self.samples.windows(2).filter(|pair| pair[1].0 > pair[0].0);
        pairs.map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) as f64 / (pair[1].0 - pair[0].0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_slot_around_it() {
        for ns in (0..64)
            .flat_map(|bits| [0, 1, 7].map(|more| (1u64 << bits).saturating_add(more)))
            .chain([0, u64::MAX])
        {
            let slot = slot(ns);
            assert!(lower(slot) <= ns && ns <= upper(slot), "{ns}: {slot}");
            assert!((upper(slot) - lower(slot)) as f64 <= ns as f64 / 63.0, "{ns}");
        }
    }

    #[test]
    fn percentiles_are_within_a_step() {
        let mut all = Latencies::new();
        (1..=1000).for_each(|us| all.record(Duration::from_micros(us)));
        for (share, us) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = all.percentile(share).as_secs_f64() * 1e6;
            assert!((found / us - 1.0).abs() < 0.02, "{share}: {found}");
        }
        assert_eq!((all.least(), all.most()), (Duration::from_micros(1), Duration::from_micros(1000)));
        assert_eq!(all.mean(), Duration::from_nanos(500_500));
        assert_eq!(all.below(&[64_000, 1 << 40]).iter().sum::<u64>(), 1000);
        assert_eq!(Latencies::new().percentile(0.99), Duration::ZERO);
    }
}
