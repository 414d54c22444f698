//! The `stonechat-server` binary.

fn main() {
    one_arena();
    std::process::exit(stonechat_server::run(std::env::args_os()));
}

/// Makes glibc allocate from one arena instead of several per core.
///
/// A publisher's task moves between threads while it fills buffers, and each thread's arena would grow to the peak of all
/// of them: resident memory under a lagging subscriber was half as large again. Pools of buffers per thread sit above the
/// allocator, so its lock is hardly ever taken.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn one_arena() {
    // SAFETY: mallopt takes two integers and changes glibc's own settings; no other thread runs yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn one_arena() {}
