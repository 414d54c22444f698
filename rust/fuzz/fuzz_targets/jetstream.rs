//! A client that may send anything to JetStream: requests, messages, pulls, acknowledgements, backups, through restarts.
//! Nothing panics, answers are JSON, and what a stream holds is the same after a restart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat_fuzz::jetstream::Server;

fuzz_target!(|data: &[u8]| Server::default().play(data));
