//! Whether what comes is worked on by whoever brings it.

use std::time::Duration;

/// Work on somebody else's thread that takes so long is too much for him, if it takes so long on average too.
const LONG: Duration = Duration::from_micros(500);
/// More does not count for more. One stay is then half of what ends it: it says little, since the processor may have been taken
/// from the thread for as long.
const MOST: Duration = Duration::from_millis(4);
/// The average is over about so many pieces of work.
const WEIGHT: i64 = 16;
/// For so long JetStream's thread does all then, in nanoseconds.
const PAUSE: i64 = 100_000_000;

/// Watches how long work takes that is done by whoever brings it.
#[derive(Debug, Default)]
pub(super) struct Light {
    /// What a piece of work took on average, in nanoseconds.
    average: i64,
    /// Until then JetStream's thread does all.
    paused_until: i64,
}

impl Light {
    /// Whether such work may be done at `time`, in nanoseconds since 1970.
    pub(super) fn is_allowed(&self, time: i64) -> bool {
        time >= self.paused_until
    }

    /// Takes note that work begun at `time` took `spent`.
    pub(super) fn took(&mut self, time: i64, spent: Duration) {
        self.average += (spent.min(MOST).as_nanos() as i64 - self.average) / WEIGHT;
        if spent > LONG && self.average > LONG.as_nanos() as i64 {
            self.paused_until = time.saturating_add(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(10);

    #[test]
    fn one_long_piece_of_work_changes_nothing() {
        let mut light = Light::default();
        for time in 0..1000 {
            light.took(time, if time % 20 == 0 { Duration::from_secs(1) } else { SHORT });
            assert!(light.is_allowed(time + 1), "at {time}");
        }
    }

    #[test]
    fn work_that_is_always_long_is_left_to_the_thread() {
        for (micros, most) in [(10_000, 3), (1000, 12), (600, 40)] {
            let mut light = Light::default();
            let needed = (1..100).find(|_| {
                light.took(7, Duration::from_micros(micros));
                !light.is_allowed(8)
            });
            assert!(needed.is_some_and(|n| n <= most), "{micros} µs: {needed:?}");
            assert!(light.is_allowed(7 + PAUSE));
            light.took(7 + PAUSE, SHORT);
            assert!(light.is_allowed(8 + PAUSE), "it is not long any more");
            light.took(9 + PAUSE, Duration::from_micros(micros));
            assert!(micros < 1000 || !light.is_allowed(10 + PAUSE), "it is long again");
        }
    }
}
