//! CPU, context switches and memory, from the kernel.

use std::fs;

#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU seconds of the process: all threads, including ended ones.
    pub(crate) cpu: f64,
    pub(crate) user: f64,
    pub(crate) sys: f64,
    /// Context switches of the live threads.
    pub(crate) switches: u64,
}

pub(crate) fn usage(pid: u32) -> Usage {
    let mut u = Usage { cpu: cpu_clock(pid), ..Default::default() };
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat"))
        && let Some(at) = stat.rfind(')')
    {
        let f: Vec<&str> = stat[at + 2..].split(' ').collect();
        let tick = |i: usize| f.get(i).and_then(|s| s.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
        (u.user, u.sys) = (tick(11), tick(12));
    }
    for t in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(t.path().join("status")).unwrap_or_default();
        u.switches +=
            field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:");
    }
    u
}

/// Returns the (current, peak) resident memory in KiB.
pub(crate) fn rss(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
}

/// Resets the peak of the resident memory.
pub(crate) fn reset_peak(pid: u32) {
    // If the kernel refuses, the peak since the start is reported, which is at least as high.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn cpu_clock(pid: u32) -> f64 {
    // SAFETY: both calls only write to the locals they are given.
    unsafe {
        let mut clock = 0;
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if libc::clock_getcpuclockid(pid as i32, &mut clock) != 0 || libc::clock_gettime(clock, &mut ts) != 0
        {
            return 0.0;
        }
        ts.tv_sec as f64 + ts.tv_nsec as f64 / 1e9
    }
}

pub(crate) fn own_cpu() -> f64 {
    cpu_clock(std::process::id())
}

pub(crate) fn thread_cpu() -> f64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes only to ts.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as f64 + ts.tv_nsec as f64 / 1e9
}

/// Returns the CPU seconds that the whole machine has been busy.
pub(crate) fn machine_busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let f: Vec<f64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|s| s.parse().ok()).collect();
    if f.len() < 8 {
        return 0.0;
    }
    (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / 100.0
}

pub(crate) fn pin(cpu: usize) {
    // SAFETY: a zeroed cpu_set_t is valid; the call affects the calling thread only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Lets the calling thread sleep as precisely as the kernel allows.
pub(crate) fn sharp_timer() {
    // SAFETY: plain prctl.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}
