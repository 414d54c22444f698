//! The native `stonechat` binary. All code is in the library, which the console script of the Python package calls too.

use std::process;

fn main() {
    process::exit(stonechat_cli::run(std::env::args_os()));
}
