//! Shared parts of the engine's tests: a host that answers every question about interest with yes or no, and a store on failing
//! disks.

#![allow(dead_code, clippy::expect_used, reason = "each test uses a part of it, and may panic")]

use std::sync::Arc;

use stonechat_jetstream::AccountId;
use stonechat_jetstream::engine::{
    AccountLimits, Disks, Durability, Engine, Host, OpenError, Opened, Options, Sizes,
};
use stonechat_store::disk::sim::SimDisk;
use stonechat_store::encryption::{Cipher, Keyring};

/// A host with interest in every subject but advisories, or in none.
pub(crate) struct World {
    is_wanted: bool,
    ids: u64,
}

impl World {
    pub(crate) fn boxed(is_wanted: bool) -> Box<dyn Host> {
        Box::new(Self { is_wanted, ids: 0 })
    }
}

impl Host for World {
    fn is_wanted(&self, _account: &str, subject: &[u8]) -> bool {
        self.is_wanted && !subject.starts_with(b"$JS.EVENT")
    }

    fn unique_id(&mut self) -> String {
        self.ids += 1;
        format!("{:022}", self.ids)
    }
}

/// Options with small files, so that there are many.
pub(crate) fn options(durability: Durability) -> Options {
    Options {
        server_name: "sim".into(),
        server_id: "sim".into(),
        version: "2.15.2".into(),
        domain: None,
        strict: true,
        max_memory: -1,
        max_storage: -1,
        duplicate_window_max: 0,
        default_max_consumers: 1000,
        max_ack_pending: 0,
        max_request_batch: 0,
        durability,
        sizes: Sizes {
            log_file: 32 << 10,
            checkpoint: 40 << 10,
            segment: 4 << 10,
            referred: 60,
            index: 1 << 10,
        },
        keys: Keyring::default(),
    }
}

/// Options with small files and limits, and a domain, so that tests reach each of them.
pub(crate) fn tight_options(durability: Durability) -> Options {
    Options {
        domain: Some("d".into()),
        max_memory: 1 << 20,
        max_storage: 1 << 20,
        sizes: Sizes {
            log_file: 64 << 10,
            checkpoint: 32 << 10,
            segment: 8 << 10,
            referred: 100,
            index: 4 << 10,
        },
        ..options(durability)
    }
}

/// A function that opens an engine.
pub(crate) type Open =
    fn(&Disks<SimDisk>, Options, Box<dyn Host>, u64, i64) -> Result<(Engine<SimDisk>, Opened), OpenError>;

/// The disks of a store, and its keys.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) log: SimDisk,
    pub(crate) catalogue: SimDisk,
    pub(crate) streams: SimDisk,
    keys: Keyring,
}

impl Store {
    /// Creates an empty store; with every third seed it is encrypted.
    pub(crate) fn new(seed: u64) -> Self {
        let keys = match seed % 3 {
            1 => Keyring::fixed(Cipher::ChaCha20Poly1305),
            _ => Keyring::default(),
        };
        Self { keys, ..Self::default() }
    }

    pub(crate) fn map(&self, change: impl FnMut(&SimDisk) -> SimDisk) -> Self {
        let [log, catalogue, streams] = self.disks().map(change);
        Self { log, catalogue, streams, keys: self.keys.clone() }
    }

    /// The same disks in another process, which opens the store anew.
    pub(crate) fn reopened(self) -> Self {
        Self { keys: self.keys.reopened(), ..self }
    }

    pub(crate) fn disks(&self) -> [&SimDisk; 3] {
        [&self.log, &self.catalogue, &self.streams]
    }

    /// Opens the store with one account without limits. Returns the account's number too.
    pub(crate) fn open(
        &self,
        options: Options,
        host: Box<dyn Host>,
        now: i64,
    ) -> (Engine<SimDisk>, AccountId) {
        self.open_with(Engine::open, options, host, now).expect("the store opens")
    }

    /// Like [`Store::open`], with one of the functions that open an engine.
    pub(crate) fn open_with(
        &self,
        open: Open,
        options: Options,
        host: Box<dyn Host>,
        now: i64,
    ) -> Result<(Engine<SimDisk>, AccountId), OpenError> {
        let [log, catalogue, streams] = self.disks().map(|disk| Arc::new(disk.clone()));
        let options = Options { keys: self.keys.clone(), ..options };
        let disks = Disks { log, catalogue, streams };
        let (mut engine, _) = open(&disks, options, host, 99, now)?;
        engine.set_limits("$G", Some(AccountLimits::default()));
        let account = engine.account("$G");
        Ok((engine, account))
    }
}
