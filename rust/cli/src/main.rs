//! The native `stonechat` binary; everything is in the library, which Python's console script calls as well.

use std::process;

fn main() {
    process::exit(stonechat_cli::run(std::env::args_os()));
}
