//! Stores whose files the fuzzer damages.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use stonechat_jetstream::engine::{AccountLimits, Disks, Durability, Engine};
use stonechat_store::checksum::fuzzing::ALL_PASS;
use stonechat_store::disk::Disk;
use stonechat_store::disk::sim::SimDisk;

use super::{BEGINNING, Server, Store, World, support};

/// Scripts that fill the stores before the damage. A `c` at the end leaves little in the log, a `k` much.
const SCRIPTS: [&[u8]; 4] = [
    b"r STREAM.CREATE.S {\"name\":\"S\",\"subjects\":[\"s.>\"],\"allow_msg_ttl\":true,\"metadata\":{\"a\":\"b\"}}\n\
      r CONSUMER.CREATE.S.C {\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}\n\
      b 9\nl 0||4\na 0|1.2.2.1.1|+ACK\np s.a|Nats-Msg-Id: x^Nats-TTL: 1h|y\nr STREAM.MSG.DELETE.S {\"seq\":4}\nk",
    b"r STREAM.CREATE.S {\"name\":\"S\",\"subjects\":[\"s.>\"],\"max_msgs\":150}\n\
      b 200\nr STREAM.MSG.DELETE.S {\"seq\":120}\nr STREAM.PURGE.S {\"filter\":\"s.1\"}\nc\nb 30\nk",
    b"r STREAM.CREATE.S {\"name\":\"S\",\"subjects\":[\"s.>\"],\"compression\":\"s2\",\"allow_msg_schedules\":true}\n\
      b 200\np s.q|Nats-Schedule: @every 1h^Nats-Schedule-Target: s.z|1\nc\nr STREAM.MSG.DELETE.S {\"seq\":20}\nc",
    b"r STREAM.CREATE.S {\"name\":\"S\",\"subjects\":[\"s.>\"],\"retention\":\"workqueue\"}\n\
      r STREAM.CREATE.M {\"name\":\"M\",\"storage\":\"memory\",\"sources\":[{\"name\":\"S\"}]}\n\
      r CONSUMER.CREATE.S.C {\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}\n\
      b 20\nl 0||9\na 0|1.3.3.1.1|+ACK\nc\na 0|1.4.4.1.1|-NAK\nb 3\nk",
];
/// Maximum size of a file in bytes.
const LEN_MAX: usize = 2 << 20;

/// Returns the filled stores before the damage: with checksums, or without.
fn stores(is_checked: bool) -> &'static [Store] {
    static STORES: [OnceLock<Vec<Store>>; 2] = [const { OnceLock::new() }; 2];
    let fill = || SCRIPTS.iter().map(|script| Server::default().fill(script)).collect();
    STORES[usize::from(is_checked)].get_or_init(fill)
}

/// Bytes that are read one by one; zeros after the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn word(&mut self) -> usize {
        self.byte() << 8 | self.byte()
    }
}

/// Changes a file. Positions are below 64 KiB: all relevant files are shorter.
fn change(disk: &SimDisk, name: &str, input: &mut Bytes<'_>) {
    let (how, at) = (input.byte(), input.word());
    if how % 8 == 7 {
        // The file exists: the disk has just listed it.
        let _ = disk.remove(name);
        return;
    }
    let (len, value) = (input.byte(), input.byte() as u8);
    let some: Vec<u8> = (0..len % 16).map(|_| input.byte() as u8).collect();
    disk.bytes(name, |bytes| {
        let at = at.min(bytes.len());
        let end = (at + len).min(bytes.len());
        match how % 8 {
            0 => bytes[at..end].iter_mut().for_each(|b| *b ^= value),
            1 => bytes[at..end].fill(value),
            2 | 3 => {
                let end = (at + some.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&some[..end - at]);
            }
            4 => drop(bytes.splice(at..at, some)),
            5 => drop(bytes.drain(at..end)),
            _ => bytes.truncate(at),
        }
        bytes.truncate(LEN_MAX);
    });
}

/// Damages a store as `data` says, opens it, inspects it completely, accepts the loss, and opens it again. If the first byte is
/// below 128, all checksums pass, so that the code behind them is reached.
///
/// # Panics
/// If the server does not withstand the damage.
pub fn open_damaged(data: &[u8]) {
    let mut input = Bytes(data);
    let first = input.byte();
    let is_checked = first >= 128;
    ALL_PASS.store(!is_checked, Ordering::Relaxed);
    let stores = stores(is_checked);
    let store = stores[first % stores.len()].map(SimDisk::kill);
    while !input.0.is_empty() {
        let disk = store.disks()[input.byte() % 3];
        let names = disk.names().unwrap_or_default();
        let which = input.byte();
        if let Some(name) = which.checked_rem(names.len()).and_then(|nth| names.get(nth)) {
            change(disk, name, &mut input);
        }
    }
    let Some(mut server) = open(&store) else { return };
    server.engine.inspect(true, |_| {});
    server.content();
    server.publish(b"s.0", b"", b"more", b"");
    server.settle();
    server.engine.accept_loss();
    server.settle();
    server.engine.close();
    let server = open(&store);
    // Without checksums, any bytes may pass as a record.
    if is_checked {
        let Some(mut server) = server else { panic!("a store that was repaired does not open") };
        server.engine.inspect(true, |_| {});
        let notices = server.engine.take_notices();
        assert_eq!(server.engine.lost(), 0, "it was accepted, and is still lost: {notices:?}");
        assert!(server.ask("INFO", &Value::Null)["error"].is_null(), "no more answers");
    }
}

/// Starts a server on the store; returns `None` if the store can't be opened.
fn open(store: &Store) -> Option<Server> {
    let [log, catalogue, streams] = store.disks().map(|disk| Arc::new(disk.clone()));
    let disks = Disks { log, catalogue, streams };
    let (world, is_wanted) = World::new();
    match Engine::open(&disks, support::tight_options(Durability::Synced), world, 99, BEGINNING) {
        Ok((mut engine, _)) => {
            engine.set_limits("$G", Some(AccountLimits::default()));
            let account = engine.account("$G");
            let mut server = Server {
                store: store.clone(),
                engine,
                account,
                is_wanted,
                listens: BTreeSet::new(),
                now: BEGINNING,
                answers: Vec::new(),
            };
            server.settle();
            Some(server)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "refused without a word");
            None
        }
    }
}
