//! Restores of arbitrary backups.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use stonechat_jetstream::backup::frames::Compressor;
use stonechat_store::checksum::fuzzing::ALL_PASS;

use super::Server;

/// Restores `data` as a stream's backup. With a leading zero byte, the rest is the backup; otherwise `data` is the archive
/// inside, and is compressed first. Afterwards either the stream exists, or an error was returned.
///
/// # Panics
/// If the server does not withstand the backup.
pub fn restore(data: &[u8]) {
    ALL_PASS.store(false, Ordering::Relaxed);
    let data = match data {
        [0, raw @ ..] => raw.to_vec(),
        plain => {
            let mut compressor = Compressor::default();
            compressor.plain().extend_from_slice(plain);
            compressor.pack(true);
            compressor.take(usize::MAX)
        }
    };
    let mut server = Server::default();
    let config = json!({"name": "S", "subjects": ["s.*"]});
    server.ask("STREAM.RESTORE.S", &json!({"config": config, "state": {"messages": 1, "last_seq": 9}}));
    let id = server.nth(super::restoring, 0).unwrap_or_else(|| panic!("nobody takes the backup"));
    for chunk in data.chunks(700).chain([&b""[..]]) {
        server.engine.restore_chunk(id, super::INBOX, chunk);
        server.turn();
    }
    server.settle();
    let told = server.answers.iter().any(|answer| answer.starts_with(b"{") && has(answer, b"\"error\""));
    let names = server.ask("STREAM.NAMES", &Value::Null)["streams"].clone();
    assert_eq!(told, names.is_null(), "an error and a stream, or neither");
    server.restart(|store, _| store.map(stonechat_store::disk::sim::SimDisk::kill));
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
