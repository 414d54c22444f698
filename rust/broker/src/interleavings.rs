//! How tests try interleavings: shuttle runs them again and again, and chooses anew each time who goes on at every lock
//! and atomic. A failure is printed with its schedule, which `shuttle::replay` repeats.
//!
//! Shuttle takes every atomic as sequentially consistent, so these tests try protocols, not memory orderings.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Stack of a task: sessions keep a run on theirs.
const STACK: usize = 512 << 10;
/// Preemptions that the second strategy puts where they hurt most.
const DEPTH: usize = 3;

/// Runs a test under `iterations` schedules: chosen freely for the most part, then with few preemptions.
pub(crate) fn explore(iterations: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.silence_warnings = true;
    let few = iterations / 4;
    Runner::new(RandomScheduler::new(iterations - few), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(DEPTH, few), config).run(test);
}
