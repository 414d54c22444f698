//! Tests of interleavings with shuttle. Shuttle runs a test many times; at every lock and atomic it chooses the task
//! that continues. It prints the schedule of a failure, which `shuttle::replay` repeats.
//!
//! Shuttle treats every atomic as sequentially consistent, so these tests check protocols, not memory orderings.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Stack of a task in bytes; a session has a run on its stack.
const STACK: usize = 512 << 10;
/// Bug depth of the second strategy, which bounds the preemptions in a schedule.
const DEPTH: usize = 3;

/// Runs a test under `iterations` schedules: three quarters chosen at random, the rest with few preemptions.
pub(crate) fn explore(iterations: usize, test: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.silence_warnings = true;
    let few = iterations / 4;
    Runner::new(RandomScheduler::new(iterations - few), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(DEPTH, few), config).run(test);
}
