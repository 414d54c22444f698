//! Resource use of the process: resident memory and processor time.

use parking_lot::Mutex;
use std::time::{Duration, Instant};
use stonechat_broker::ProcessUsage;

/// The shortest time between two measurements of the processor time. Calls in between get the previous result.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// A meter that measures the process from call to call.
pub(crate) struct UsageMeter {
    last: Mutex<(Instant, Duration, f64)>,
}

impl UsageMeter {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new((Instant::now(), processor_time(), 0.0)) }
    }

    pub(crate) fn measure(&self) -> ProcessUsage {
        let mem = memory_stats::memory_stats().map_or(0, |m| m.physical_mem as u64);
        let mut last = self.last.lock();
        let wall = last.0.elapsed();
        if wall >= SAMPLE_EVERY {
            let used = processor_time();
            let cpu = used.saturating_sub(last.1).as_secs_f64() / wall.as_secs_f64() * 100.0;
            *last = (Instant::now(), used, (cpu * 10.0).round() / 10.0);
        }
        ProcessUsage { mem, cpu: last.2, cores: cores() }
    }
}

/// Returns the number of cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(unix)]
fn processor_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes a whole rusage to the pointer, which is valid for it; all-zero bytes are a valid rusage,
    // so reading it is sound even if the call failed.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
}

/// Returns the bytes on the disk of `path` that are free for this process; `None` if the system does not tell.
#[cfg(unix)]
pub(crate) fn free_space(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Returns the bytes on the disk of `path` that are free for this process; `None` if the system does not tell.
#[cfg(not(unix))]
pub(crate) fn free_space(_path: &std::path::Path) -> Option<u64> {
    None
}
