//! The stonechat command: a client of NATS servers, and a launcher of the server.
//!
//! [`run`] is the whole command. The native binary and the console script of the Python package call it and exit with its result:
//! 0 for success, 1 for a failure, 2 for wrong usage, 130 for an interrupted command.
//!
//! Shared by the commands: `session` (requests to the JetStream API), `listing` (pages of its lists), `ordered` (messages in
//! order), `configuration` and `switches` (edits), `ask` (questions), `output` (tables, facts, progress, graphs).

mod account;
mod args;
mod ask;
mod bench;
mod completion;
mod configuration;
mod connection;
mod console;
mod consumer;
mod context;
mod counter;
mod encryption;
mod error;
mod errors;
mod events;
mod interrupt;
mod kv;
mod latency;
mod launch;
mod listing;
mod message;
mod object;
mod ordered;
mod output;
mod publish;
mod reply;
mod request;
mod rtt;
mod server;
mod service;
mod session;
mod stored;
mod stream;
mod subscribe;
mod switches;
mod top;
mod trace;
mod translate;
mod values;

use std::ffi::OsString;
use std::future::Future;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::{CliError, EXIT_USAGE};
use crate::server::ServerCommand;

/// Runs the `stonechat` command. `args` starts with the program's name; the result is the exit code.
pub fn run(args: impl Iterator<Item = OsString>) -> i32 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap reports help and version as errors too; it chooses the output stream and the exit code. A closed pipe is not
            // an error.
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE } else { 0 };
        }
    };
    let result = match cli.command {
        Command::Server { args, command } => match command.map(|command| *command) {
            None => return launch::serve(args),
            Some(ServerCommand::Run { args }) => return launch::serve(args),
            Some(command) => block_on(server::run(command)),
        },
        Command::Pub(args) => block_on(publish::run(args)),
        Command::Sub(args) => block_on(subscribe::run(args)),
        Command::Req(args) => block_on(request::run(args)),
        Command::Reply(args) => block_on(reply::run(args)),
        Command::Kv(args) => block_on(kv::run(*args)),
        Command::Object(args) => block_on(object::run(*args)),
        Command::Account(args) => block_on(account::run(*args)),
        Command::Counter(args) => block_on(counter::run(*args)),
        Command::Context(args) => block_on(context::run(*args)),
        Command::Bench(args) => block_on(bench::run(*args)),
        Command::Service(args) => block_on(service::run(*args)),
        Command::Top(args) => top::run(*args),
        Command::Events(args) => block_on(events::run(*args)),
        Command::Latency(args) => block_on(latency::run(*args)),
        Command::Trace(args) => block_on(trace::run(*args)),
        Command::Rtt(args) => block_on(rtt::run(*args)),
        Command::Errors(args) => errors::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Consumer(args) => block_on(consumer::run(*args)),
        Command::Stream(args) => block_on(stream::run(*args)),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            if error.is_worth_saying() {
                console::say(format_args!("stonechat: {error}"));
            }
            error.exit_code()
        }
    }
}

/// Runs a command on a single-threaded runtime.
fn block_on(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    runtime.block_on(command)
}
