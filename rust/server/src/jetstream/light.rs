//! The decision whether work may be processed inline.

use std::time::Duration;

/// The limit for inline work. It pauses after a piece of work that takes longer, if the average is above the limit too.
const LONG: Duration = Duration::from_micros(500);
/// The cap on one measurement. One long measurement alone reaches half of the average that pauses inline work. It says
/// little: another process may have had the processor.
const MOST: Duration = Duration::from_millis(4);
/// The weight of the average, in pieces of work.
const WEIGHT: i64 = 16;
/// The length of a pause of inline work, in nanoseconds.
const PAUSE: i64 = 100_000_000;

/// The running time of inline work.
#[derive(Debug, Default)]
pub(super) struct Light {
    /// The average time of a piece of work, in nanoseconds.
    average: i64,
    /// The end of the pause, in nanoseconds since 1970. Until then the JetStream thread does all work.
    paused_until: i64,
}

impl Light {
    /// Returns whether work may be processed inline at `time`, in nanoseconds since 1970.
    pub(super) fn is_allowed(&self, time: i64) -> bool {
        time >= self.paused_until
    }

    /// Records that inline work, begun at `time`, took `spent`.
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
