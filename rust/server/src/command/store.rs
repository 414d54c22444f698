//! `stonechat-server store`: checks the store of a server that does not run, and repairs it on request.
//!
//! The server's own engine opens the store, for a check over an `Overlay` that keeps all writes in memory. So the report
//! says what a start of the server would find.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use stonechat_config::flags;
use stonechat_jetstream::StreamId;
use stonechat_jetstream::engine::{
    Disks, Durability, Engine, Host, Notice, OpenError, Options, Sizes, StreamReport,
};
use stonechat_store::disk::{Overlay, RealDisk};
use stonechat_store::encryption::Keyring;

use crate::jetstream::{Directory, JetStreamError, now, secret, unlock};
use crate::version::COMPATIBLE_VERSION;

/// Exit code: the store is in order.
const GOOD: i32 = 0;
/// Exit code: something is damaged or lost.
const DAMAGED: i32 = 1;
/// Exit code: the store can't be used as requested.
const FAILED: i32 = 2;

/// The store of a server that does not run.
#[derive(Debug, Parser)]
#[command(name = "stonechat-server store", disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read all there is, change nothing, and say what is damaged.
    ///
    /// Ends with 0 if everything can be read, 1 if something can't, 2 if the store can't be opened.
    Check(Store),
    /// Say which streams and consumers there are, and in which files. Changes nothing.
    Show(Store),
    /// Mend what can be mended without losing anything, as a start of the server does.
    ///
    /// What a power cut tore off the end is dropped, footers and marks are written anew. Messages that can't be read stay counted
    /// until their loss is accepted. Ends with 0 if nothing is left to be told.
    Repair {
        #[command(flatten)]
        store: Store,
        /// Take messages that can't be read out of their streams, and give up streams and consumers of which nothing can be read.
        #[arg(long)]
        accept_loss: bool,
        /// Give a stream a name of which nothing says what it is. It gets the subjects of its messages, and no limits.
        #[arg(long, value_name = "NUMBER=NAME", value_parser = adoption)]
        adopt: Vec<(u32, String)>,
        /// The account that is to have the streams that are adopted.
        #[arg(long, value_name = "ACCOUNT", default_value = "$G")]
        account: String,
        /// Give up a stream, and all its messages, of which nothing says what it is.
        #[arg(long, value_name = "NUMBER")]
        discard: Vec<u32>,
    },
}

#[derive(Debug, Args)]
struct Store {
    /// The server's store directory; that of the configuration if it is not given.
    #[arg(value_name = "DIR", required_unless_present = "config")]
    dir: Option<PathBuf>,
    /// The server's configuration file; an encrypted store needs its key.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// A host without subscribers, for the inspection of a store.
struct Nobody;

impl Host for Nobody {
    fn is_wanted(&self, _account: &str, _subject: &[u8]) -> bool {
        false
    }

    fn unique_id(&mut self) -> String {
        String::new()
    }
}

/// The reason why the store can't be used.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    JetStream(#[from] JetStreamError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}")]
    Config(String),
    #[error("there is no stonechat store in {}", .0.display())]
    NoStore(PathBuf),
    #[error("the configuration names no store_dir: give the directory")]
    NoDirectory,
    #[error("{0}; nothing was changed")]
    Repair(String),
    #[error("can't use {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// Runs the command with the arguments after `store`; returns the exit code.
pub(super) fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let program = std::iter::once(OsString::from("stonechat-server store"));
    let command = match Command::try_parse_from(program.chain(args)) {
        Ok(command) => command,
        Err(error) => {
            // A closed output is not an error.
            let _ = error.print();
            return if error.use_stderr() { FAILED } else { GOOD };
        }
    };
    let result = match &command.verb {
        Verb::Check(store) => look(store, true),
        Verb::Show(store) => look(store, false),
        Verb::Repair { store, accept_loss, adopt, account, discard } => {
            repair(store, &Wishes { accept_loss: *accept_loss, adopt, account, discard })
        }
    };
    result.unwrap_or_else(|error| {
        super::console::err(format_args!("stonechat-server: {error}"));
        FAILED
    })
}

impl Store {
    /// Finds and locks the directory, and unlocks its keys.
    fn open(&self, may_write: bool) -> Result<Opened, StoreError> {
        let mut given = self.dir.clone();
        let mut key = None;
        if let Some(config) = &self.config {
            let args = [OsString::from("-c"), config.clone().into()];
            let Ok(flags::Invocation::Run(flags)) = flags::parse(args) else {
                return Err(StoreError::Config(format!("can't read {}", config.display())));
            };
            let loaded =
                stonechat_config::configure(&flags).map_err(|e| StoreError::Config(e.to_string()))?;
            given = given.or(loaded.options.store_dir);
            key = secret(&loaded.options.jetstream_options);
        }
        let given = given.ok_or(StoreError::NoDirectory)?;
        let within = given.join("jetstream");
        let path = [within, given.clone()]
            .into_iter()
            .find(|path| Directory::is_store(path))
            .ok_or(StoreError::NoStore(given))?;
        let directory = Directory::open(&path)?;
        let (keys, warning) = unlock(&path, key.as_ref(), may_write)?;
        Ok(Opened { path, directory, keys, notices: warning.map(Notice::Warning).into_iter().collect() })
    }
}

/// An open and locked store.
struct Opened {
    path: PathBuf,
    /// The lock of the directory.
    directory: Directory,
    keys: Keyring,
    /// Warnings and errors so far.
    notices: Vec<Notice>,
}

fn options(keys: Keyring, durability: Durability) -> Options {
    Options {
        server_name: "store".to_owned(),
        server_id: "store".to_owned(),
        version: COMPATIBLE_VERSION.to_owned(),
        domain: None,
        strict: false,
        max_memory: -1,
        max_storage: -1,
        duplicate_window_max: 0,
        default_max_consumers: 0,
        max_ack_pending: 0,
        max_request_batch: 0,
        durability,
        sizes: Sizes::default(),
        keys,
    }
}

/// Runs `check` and `show`.
fn look(store: &Store, reads: bool) -> Result<i32, StoreError> {
    let Opened { path, directory, keys, mut notices } = store.open(false)?;
    let disk = |name: &str| Arc::new(Overlay::new(RealDisk::read_only(path.join(name))));
    let disks = Disks { log: disk("log"), catalogue: disk("catalogue"), streams: disk("streams") };
    // All writes stay in memory.
    let (mut engine, opened) =
        Engine::open_without_log(&disks, options(keys, Durability::None), Box::new(Nobody), 1, now())?;
    notices.extend(engine.take_notices());
    let reports = engine.inspect(reads, progress);
    end_progress();
    notices.extend(engine.take_notices());
    let verdict = Verdict { path: &path, records: opened.records, reports, notices, was_read: reads };
    verdict.print(store.json, &[]);
    drop(directory);
    Ok(if reads { verdict.exit_code() } else { GOOD })
}

/// The actions of a repair beyond those of a server's start.
struct Wishes<'a> {
    accept_loss: bool,
    adopt: &'a [(u32, String)],
    account: &'a str,
    discard: &'a [u32],
}

/// Parses `NUMBER=NAME`.
fn adoption(text: &str) -> Result<(u32, String), String> {
    let parts = text.split_once('=').and_then(|(number, name)| Some((number.parse().ok()?, name.to_owned())));
    parts.ok_or_else(|| "NUMBER=NAME is wanted, such as 7=ORDERS".to_owned())
}

fn repair(store: &Store, wishes: &Wishes<'_>) -> Result<i32, StoreError> {
    let Opened { path, directory, keys, mut notices } = store.open(true)?;
    let disk = |name: &str| {
        let path = path.join(name);
        RealDisk::new(&path).map(Arc::new).map_err(|source| StoreError::Io { path, source })
    };
    let disks = Disks { log: disk("log")?, catalogue: disk("catalogue")?, streams: disk("streams")? };
    // A store without its log opens only if the user accepts the loss.
    let open = if wishes.accept_loss { Engine::open_without_log } else { Engine::open };
    let (mut engine, opened) = open(&disks, options(keys, Durability::Synced), Box::new(Nobody), 1, now())?;
    notices.extend(engine.take_notices());
    engine.inspect(true, progress);
    end_progress();
    notices.extend(engine.take_notices());
    for (number, name) in wishes.adopt {
        engine.adopt(StreamId(*number), wishes.account, name).map_err(StoreError::Repair)?;
    }
    for number in wishes.discard {
        engine.discard(StreamId(*number)).map_err(StoreError::Repair)?;
    }
    let gone = if wishes.accept_loss { engine.accept_loss() } else { Vec::new() };
    engine.close();
    notices.extend(engine.take_notices());
    let left = engine.left_alone().len() + engine.quarantined_numbers().len();
    let reports = engine.inspect(false, |_| {});
    drop(engine);
    let verdict = Verdict { path: &path, records: opened.records, reports, notices, was_read: true };
    verdict.print(store.json, &gone);
    drop(directory);
    Ok(if verdict.lost() == 0 && left == 0 { GOOD } else { DAMAGED })
}

/// Shows the stream that is being read, on a terminal.
fn progress(stream: &str) {
    if std::io::stderr().is_terminal() {
        super::console::err_part(format_args!("\r\x1b[Kreading {stream} ..."));
    }
}

fn end_progress() {
    if std::io::stderr().is_terminal() {
        super::console::err_part("\r\x1b[K");
    }
}

/// The result of a check or repair.
struct Verdict<'a> {
    path: &'a Path,
    records: u64,
    reports: Vec<StreamReport>,
    notices: Vec<Notice>,
    was_read: bool,
}

impl Verdict<'_> {
    fn lost(&self) -> u64 {
        let runs = self.reports.iter().flat_map(|report| &report.lost);
        runs.map(|(first, last)| last - first + 1).sum()
    }

    fn exit_code(&self) -> i32 {
        let is_damaged = self.notices.iter().any(|notice| matches!(notice, Notice::Error(_)));
        if is_damaged || self.lost() > 0 { DAMAGED } else { GOOD }
    }

    fn print(&self, json: bool, gone: &[(String, u64)]) {
        // A closed output is not an error.
        let _ = if json { self.print_json(gone) } else { self.print_text(gone) };
    }

    fn print_json(&self, gone: &[(String, u64)]) -> std::io::Result<()> {
        let text = |notice: &Notice| match notice {
            Notice::Warning(text) => serde_json::json!({"level": "warning", "text": text}),
            Notice::Error(text) => serde_json::json!({"level": "error", "text": text}),
        };
        let removed: serde_json::Map<String, serde_json::Value> =
            gone.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
        let value = serde_json::json!({
            "store": self.path,
            "log_records": self.records,
            "streams": self.reports,
            "findings": self.notices.iter().map(text).collect::<Vec<_>>(),
            "lost": self.lost(),
            "removed": removed,
        });
        writeln!(std::io::stdout(), "{value:#}")
    }

    fn print_text(&self, gone: &[(String, u64)]) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "store {}, {} records in the log", self.path.display(), self.records)?;
        for report in &self.reports {
            match report.quarantined {
                Some(number) => writeln!(out, "\nquarantined stream number {number}")?,
                None => writeln!(out, "\nstream {} of account {}", report.name, report.account)?,
            }
            writeln!(
                out,
                "  {} messages, {} bytes, sequences {} to {}, {} subjects, {} storage, compression {}",
                report.messages,
                report.bytes,
                report.first_sequence,
                report.last_sequence,
                report.subjects,
                report.storage,
                report.compression
            )?;
            for consumer in &report.consumers {
                writeln!(
                    out,
                    "  consumer {}: delivered up to {}, acknowledged up to {}, {} pending",
                    consumer.name, consumer.delivered, consumer.acknowledged, consumer.pending
                )?;
            }
            if !self.was_read {
                writeln!(out, "  files: {}", report.files.join(" "))?;
            }
            for (first, last) in &report.lost {
                writeln!(out, "  CAN'T BE READ: sequences {first} to {last}")?;
            }
        }
        if !self.notices.is_empty() {
            writeln!(out)?;
        }
        for notice in &self.notices {
            match notice {
                Notice::Warning(text) => writeln!(out, "warning: {text}")?,
                Notice::Error(text) => writeln!(out, "error: {text}")?,
            }
        }
        writeln!(out)?;
        for (name, count) in gone {
            writeln!(out, "{count} messages that could not be read were taken out of {name}")?;
        }
        match (self.was_read, self.lost()) {
            (false, _) => Ok(()),
            (true, 0) if self.exit_code() == GOOD => writeln!(out, "everything can be read"),
            (true, 0) => writeln!(out, "all messages can be read"),
            (true, lost) => writeln!(
                out,
                "{lost} messages can't be read: bring them back from a backup, or accept their loss with \
                 `stonechat-server store repair --accept-loss`"
            ),
        }
    }
}
