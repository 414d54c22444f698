//! The priority of a measurement, and its limit of open files.

use anyhow::{Result, bail};

/// The priority of this process and the processes that it starts.
///
/// Linux may also weigh sessions against each other (autogroups); nice values then count only within one session. The session's
/// weight is therefore set too, and restored on drop.
pub(crate) struct Priority {
    old_group: Option<String>,
}

const AUTOGROUP: &str = "/proc/self/autogroup";

impl Priority {
    /// Sets the priority, -20 to 19.
    pub(crate) fn set(nice: i32) -> Result<Self> {
        // SAFETY: a plain system call without pointers.
        if nice != 0 && unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
            bail!("--nice {nice}: {}", std::io::Error::last_os_error());
        }
        let group = std::fs::read_to_string(AUTOGROUP).ok().filter(|_| nice != 0);
        let old_group = group.and_then(|g| Some(g.trim().rsplit(' ').next()?.to_string()));
        if old_group.is_some() {
            let _ = std::fs::write(AUTOGROUP, nice.to_string());
        }
        Ok(Self { old_group })
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(old) = &self.old_group {
            let _ = std::fs::write(AUTOGROUP, old);
        }
    }
}

/// Raises the limit of open files: the idle scenario holds as many sockets as the server does.
pub(crate) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write only the struct they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
