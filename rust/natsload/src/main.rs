//! `natsload` runs the same load against several NATS servers in turn, and compares them.
//!
//! The generator is as light as possible (blocking sockets, pre-encoded batches, counting by frame length), so that the
//! measurement is about the server. `docs/benchmarks/natsload.md` explains the figures.

// A benchmark stops at anything unexpected; its threads pass failures on by panicking in `join`.
#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod core;
#[cfg(target_os = "linux")]
mod fleet;
#[cfg(target_os = "linux")]
mod history;
#[cfg(target_os = "linux")]
mod js;
#[cfg(target_os = "linux")]
mod kvcas;
#[cfg(target_os = "linux")]
mod kvkeys;
#[cfg(target_os = "linux")]
mod kvobject;
#[cfg(target_os = "linux")]
mod kvwatch;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod priority;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(target_os = "linux")]
mod replay;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() {
    use args::{Cli, Command};
    use clap::Parser;

    let cli = Cli::parse();
    priority::raise_file_limit();
    let done = match cli.command {
        Command::List => {
            measure::list();
            Ok(())
        }
        Command::Limits(common) => measure::measure_machine(&common),
        Command::Run(args) => measure::run(&args),
    };
    if let Err(e) = done {
        eprintln!("natsload: {e:#}");
        std::process::exit(1);
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("natsload: it measures on Linux only, where /proc tells what a server uses");
    std::process::exit(1);
}
