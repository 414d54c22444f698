//! JetStream on its own threads: the bridge between broker and engine, the workers for the disk, and the store's
//! directory.

mod directory;
mod host;
mod inbox;
mod light;
mod runner;
#[cfg(test)]
mod tests;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::Rng;
use stonechat_broker::Broker;
use stonechat_config::{AccountJetStream, Options, StoreCipher, SyncInterval};
use stonechat_jetstream::engine::{self, AccountLimits, Detail, Disks, Durability, Engine, Surveyed};
use stonechat_store::disk::RealDisk;
use stonechat_store::file::INDEX_LEN;
use tracing::{info, warn};

use crate::fault::Fault;
use crate::logging::Logger;
use crate::version::COMPATIBLE_VERSION;
pub(crate) use directory::{Directory, secret, unlock};
use inbox::{Inbox, QueueLimits};

/// The longest time that a caller waits for an answer of the engine.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The reason why JetStream did not start.
#[derive(Debug, thiserror::Error)]
pub enum JetStreamError {
    /// The directory can't be used.
    #[error("can't use {} for JetStream: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The path is no directory; the error has nats-server's words.
    #[error("storage directory is not a directory: {}", .0.display())]
    NoDirectory(PathBuf),
    /// Another server uses the directory.
    #[error("another server uses the JetStream store in {}: stop it, or give this one a store_dir of its own", .0.display())]
    InUse(PathBuf),
    /// The directory belongs to another user, or another user may have prepared it.
    #[error(
        "the JetStream directory {} belongs to another user or is a link, and is left alone: make it this user's (chown), or choose \
         another store_dir", .0.display()
    )]
    NotOurs(PathBuf),
    /// nats-server wrote the directory.
    #[error(
        "{} was written by nats-server and is left alone: give stonechat a store_dir of its own, and move streams over with \
         `nats stream backup` and `nats stream restore`", .0.display()
    )]
    Foreign(PathBuf),
    /// A later version wrote the store.
    #[error(
        "the JetStream store in {} was written by a newer version of stonechat (format {format}) and is left alone: start that version, \
         or move streams here with `nats stream backup` and `nats stream restore`", path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The format that the store's marker names.
        format: u64,
    },
    /// The content can't be read.
    #[error("can't open the JetStream store in {}: {source}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: engine::OpenError,
    },
    /// The store is encrypted and can't be unlocked.
    #[error("can't open the JetStream store in {}: {source}", path.display())]
    Keys {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: stonechat_store::encryption::KeyError,
    },
    /// The system gives no random numbers.
    #[error("can't draw random numbers: {0}")]
    Random(std::io::Error),
    /// A thread can't be started.
    #[error("can't start JetStream's threads: {0}")]
    Thread(std::io::Error),
}

/// Running JetStream.
#[derive(Debug)]
pub(crate) struct JetStream {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    throwaway: Mutex<Option<tempfile::TempDir>>,
    pub(crate) store_dir: PathBuf,
    pub(crate) max_memory: i64,
    pub(crate) max_storage: i64,
}

impl JetStream {
    /// Opens the store and starts the threads. When this returns, the subjects of all streams are subscribed.
    pub(crate) fn start(
        broker: &Arc<Broker>,
        options: &Options,
        log: &Logger,
        fault: &Fault,
    ) -> Result<Self, JetStreamError> {
        let began = std::time::Instant::now();
        info!("Starting JetStream");
        let js = &options.jetstream_options;
        let throwaway = Self::throwaway(options)?;
        let root = match (&throwaway, &options.store_dir) {
            (Some(dir), _) => dir.path().to_owned(),
            (None, Some(dir)) => dir.clone(),
            (None, None) => std::env::temp_dir().join("nats"),
        };
        if root.exists() && !root.is_dir() {
            return Err(JetStreamError::NoDirectory(root));
        }
        let path = root.join("jetstream");
        let is_default = throwaway.is_none() && options.store_dir.is_none();
        if is_default {
            warn!("Temporary storage directory used, data could be lost on system reboot");
        }
        directory::check_owner(&root, &path, is_default)?;
        let directory = Directory::open(&path)?;
        let (keys, warning) = unlock(&path, secret(js).as_ref(), true)?;
        if let Some(warning) = warning {
            warn!("{warning}");
        }
        let open_error = |source| JetStreamError::Directory { path: path.clone(), source };
        let disk = |name: &str| RealDisk::new(path.join(name)).map(Arc::new).map_err(open_error);
        let disks = Disks { log: disk("log")?, catalogue: disk("catalogue")?, streams: disk("streams")? };
        let (max_memory, max_storage) = limits(options, &path);
        let server = broker.info();
        let settings = engine::Options {
            server_name: server.server_name.clone(),
            server_id: server.server_id.clone(),
            version: COMPATIBLE_VERSION.to_owned(),
            domain: js.domain.clone(),
            strict: js.strict,
            max_memory,
            max_storage,
            default_max_consumers: js.default_max_consumers,
            max_ack_pending: js.max_ack_pending,
            max_request_batch: js.max_request_batch,
            duplicate_window_max: js
                .duplicate_window
                .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)),
            durability: match js.sync_interval {
                _ if js.is_throwaway => Durability::None,
                None | Some(SyncInterval::Always) => Durability::Synced,
                Some(SyncInterval::Every(d)) => {
                    Durability::Within(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
                }
            },
            sizes: engine::Sizes {
                index: js.max_index_memory.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(INDEX_LEN),
                segment: engine::Sizes::default().segment.min(directory::file_len_max() / 2),
                ..engine::Sizes::default()
            },
            keys,
        };
        banner(&settings, &path, options);
        let mut random = crate::server::random().map_err(JetStreamError::Random)?;
        let salt = random.next_u64();
        let host = Box::new(host::BrokerHost::new(broker.clone(), random));
        #[cfg(test)]
        crate::command::tests::opening();
        let (mut engine, opened) = Engine::open(&disks, settings, host, salt, now())
            .map_err(|source| JetStreamError::Open { path: path.clone(), source })?;
        for (name, limits) in accounts(options) {
            engine.set_limits(&name, limits);
        }
        engine.set_request_limits([js.request_queue_limit, js.info_queue_limit]);
        engine.set_system_account(crate::settings::system_account(options));
        let limits = QueueLimits {
            messages: js.max_buffered_msgs,
            bytes: js.max_buffered_size,
            requests: js.request_queue_limit.saturating_add(js.info_queue_limit),
        };
        let inbox = Arc::new(Inbox::new(limits, fault.clone()));
        let runner = runner::Runner::new(engine, broker.clone(), inbox.clone(), directory, log.clone());
        let thread = runner.and_then(runner::Runner::start).map_err(JetStreamError::Thread)?;
        if opened.streams > 0 {
            info!(
                "  Restored {} streams in {:?}, {} records of the log",
                opened.streams,
                began.elapsed(),
                opened.records
            );
        }
        Ok(Self {
            inbox,
            thread: Mutex::new(Some(thread)),
            throwaway: Mutex::new(throwaway),
            store_dir: path,
            max_memory,
            max_storage,
        })
    }

    /// Creates a temporary directory that is removed when JetStream stops, if the options ask for one.
    fn throwaway(options: &Options) -> Result<Option<tempfile::TempDir>, JetStreamError> {
        if !options.jetstream_options.is_throwaway {
            return Ok(None);
        }
        let failed = |source| JetStreamError::Directory { path: std::env::temp_dir(), source };
        tempfile::Builder::new().prefix("stonechat-").tempdir().map(Some).map_err(failed)
    }

    /// Ends all pull requests, because the server shuts down.
    pub(crate) fn end_requests(&self) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.inbox.command(Box::new(move |engine| {
            engine.end_waiting();
            // The caller may have given up.
            let _ = sender.send(());
        }));
        if receiver.recv_timeout(ANSWER_WITHIN).is_ok() {
            // The answers are on their way once the thread takes the next command.
            self.ask(|_| ());
        }
    }

    /// Stops JetStream. When this returns, everything is written. `broker_ends` tells whether the whole server ends.
    pub(crate) fn stop(&self, broker_ends: bool) {
        self.inbox.stop(broker_ends);
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread is already in the log.
            let _ = thread.join();
        }
        // Files that can't be removed are left to the system's cleaning of temporary files.
        drop(self.throwaway.lock().take());
    }

    /// Returns the figures; `None` if the engine does not answer in time. The engine does other work between two steps.
    pub(crate) fn figures(&self, detail: Detail) -> Option<engine::Figures> {
        let mut survey = self.ask(move |engine| engine.survey(detail))?;
        loop {
            survey = match self.ask(move |engine| survey.step(engine))? {
                Surveyed::Figures(figures) => return Some(figures),
                Surveyed::More(survey) => survey,
            };
        }
    }

    /// Returns whether the account may use JetStream, and whether it has the stream.
    pub(crate) fn find(&self, account: &str, stream: &str) -> Option<(bool, bool)> {
        let (account, stream) = (account.to_owned(), stream.to_owned());
        self.ask(move |engine| engine.has(&account, &stream))
    }

    /// Returns whether the stream has the consumer.
    pub(crate) fn has_consumer(&self, account: &str, stream: &str, consumer: &str) -> Option<bool> {
        let (account, stream, consumer) = (account.to_owned(), stream.to_owned(), consumer.to_owned());
        self.ask(move |engine| engine.has_consumer(&account, &stream, &consumer))
    }

    /// Updates the limits of all accounts.
    pub(crate) fn set_accounts(&self, options: &Options) {
        let accounts = accounts(options);
        self.inbox.command(Box::new(move |engine| {
            accounts.into_iter().for_each(|(name, limits)| engine.set_limits(&name, limits));
            engine.exchange_changed();
        }));
    }

    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Engine<RealDisk>) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.inbox.command(Box::new(move |engine| {
            // The caller may have given up.
            let _ = sender.send(question(engine));
        }));
        receiver.recv_timeout(ANSWER_WITHIN).ok()
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Returns the limits of each account; `None` for accounts that may not use JetStream.
fn accounts(options: &Options) -> Vec<(String, Option<AccountLimits>)> {
    let limits = |a: &AccountJetStream| AccountLimits {
        max_memory: a.max_memory,
        max_storage: a.max_store,
        max_streams: a.max_streams,
        max_consumers: a.max_consumers,
        max_ack_pending: a.max_ack_pending,
        memory_max_stream_bytes: a.memory_max_stream_bytes,
        storage_max_stream_bytes: a.store_max_stream_bytes,
        max_bytes_required: a.max_bytes_required,
    };
    let named = options
        .accounts
        .iter()
        .map(|a| (a.name.clone(), options.jetstream_accounts.get(&a.name).map(limits)));
    let mut accounts: Vec<_> = named.collect();
    // If no account has JetStream configured, the global account has it.
    let global = options.jetstream_accounts.is_empty().then(AccountLimits::default);
    accounts.push((stonechat_broker::GLOBAL_ACCOUNT.to_owned(), global));
    accounts.push((crate::settings::system_account(options).to_owned(), None));
    accounts
}

/// Returns the limits for memory and disk: unless configured, three quarters of the machine's memory and of the free disk
/// space (as nats-server 2.15).
fn limits(options: &Options, path: &std::path::Path) -> (i64, i64) {
    let js = &options.jetstream_options;
    let memory = js.max_memory.unwrap_or_else(|| directory::total_memory() / 4 * 3);
    let file = js.max_file.unwrap_or_else(|| directory::free_space(path) / 4 * 3);
    (memory, file)
}

fn banner(settings: &engine::Options, path: &std::path::Path, options: &Options) {
    let size = |bytes: i64| match bytes {
        b if b >= 1 << 40 => format!("{:.2} TB", b as f64 / (1i64 << 40) as f64),
        b if b >= 1 << 30 => format!("{:.2} GB", b as f64 / (1 << 30) as f64),
        b if b >= 1 << 20 => format!("{:.2} MB", b as f64 / (1 << 20) as f64),
        b => format!("{b} B"),
    };
    info!("---------------- JETSTREAM ----------------");
    info!("  Strict:          {}", settings.strict);
    info!("  Max Memory:      {}", size(settings.max_memory));
    info!("  Max Storage:     {}", size(settings.max_storage));
    info!("  Store Directory: {:?}", path.display().to_string());
    if let Some(domain) = &settings.domain {
        info!("  Domain:          {domain}");
    }
    if options.jetstream_options.key.is_some() {
        let cipher = match options.jetstream_options.cipher {
            StoreCipher::ChaCha => "ChaCha20-Poly1305",
            StoreCipher::Aes => "AES-GCM",
        };
        info!("  Encryption:      {cipher}");
    }
    let sync = match options.jetstream_options.sync_interval {
        _ if options.jetstream_options.is_throwaway => "never, the store is thrown away".to_owned(),
        None | Some(SyncInterval::Always) => "always".to_owned(),
        Some(SyncInterval::Every(d)) => crate::time::go_duration(d),
    };
    info!("  Sync Interval:   {sync}");
    info!("  API Level:       {}", stonechat_jetstream::api::API_LEVEL);
    info!("-------------------------------------------");
}
