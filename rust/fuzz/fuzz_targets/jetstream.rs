//! A client that sends arbitrary requests to JetStream: API requests, messages, pulls, acknowledgements and backups, with
//! restarts between. Nothing panics, answers are JSON, and a restart preserves the contents of streams.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::jetstream::Server;

fuzz_target!(|data: &[u8]| Server::default().play(data));
