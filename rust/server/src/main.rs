//! The `stonechat-server` binary.

fn main() {
    std::process::exit(stonechat_server::run(std::env::args_os()));
}
