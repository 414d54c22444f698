//! A complete server: a broker, its listeners and its log, on its own tokio runtime.

use crate::fault::Fault;
use crate::files::Companion;
use crate::jetstream::{JetStream, JetStreamError};
use crate::lame_duck;
use crate::logging::{FATAL, LogTarget, Logger};
use crate::monitor::{self, Document, MonitorState};
use crate::net::connection;
use crate::net::listener;
use crate::net::pipe::{Pipe, PipeClient, pipe};
use crate::net::ticker::Ticker;
use crate::net::tls::{TlsContext, TlsError};
use crate::net::turns::Turns;
use crate::settings;
use crate::usage::{UsageMeter, cores};
use crate::version::{COMPATIBLE_VERSION, VERSION};
use parking_lot::{Condvar, Mutex, RwLock};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use stonechat_auth::ServerIdentity;
use stonechat_broker::{Broker, BrokerSetup, ClosedReason};
use stonechat_config::flags::FlagSet;
use stonechat_config::lang::Position;
use stonechat_config::{ConfigErrors, InvalidOptions, Options};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// The longest time that a shutdown waits for connections to end by themselves.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// The longest time that [`Server::wait`] waits for the runtime's threads after the server has ended.
const FREE_WITHIN: Duration = Duration::from_millis(200);

/// The longest time that a reload waits until every session has noticed it.
const RELOAD_WITHIN: Duration = Duration::from_secs(1);

/// The error of TLS options that can't be used, with their position in the configuration file.
#[derive(Debug)]
pub struct InvalidTls {
    position: Option<Position>,
    source: Box<TlsError>,
}

impl fmt::Display for InvalidTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            Some(position) => write!(f, "{position}: {}", self.source),
            None => write!(f, "{}", self.source),
        }
    }
}

impl std::error::Error for InvalidTls {}

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {addr}: {source}")]
    Listen {
        /// `host:port` as configured.
        addr: String,
        /// The system's error.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The options contradict each other.
    #[error("{0}")]
    Invalid(#[from] InvalidOptions),
    /// A file can't be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The configuration requires a feature that this server lacks, and starting without it would be unsafe.
    #[error("{0}")]
    Unsupported(String),
    /// The TLS options can't be used.
    #[error("{0}")]
    Tls(#[from] InvalidTls),
    /// JetStream can't start.
    #[error("{0}")]
    JetStream(#[from] JetStreamError),
    /// The system provides no random numbers.
    #[error("can't draw random numbers: {0}")]
    Random(io::Error),
    /// The runtime can't be made.
    #[error("can't start threads: {0}")]
    Runtime(io::Error),
}

/// The reason why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The server was started without a configuration file.
    #[error("can only reload config when a file is provided using -c or --config")]
    NoFile,
    /// The file is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The options contradict each other.
    #[error("{0}")]
    Invalid(#[from] InvalidOptions),
    /// The TLS options can't be used.
    #[error("{0}")]
    Tls(#[from] InvalidTls),
    /// An option changed that can't change while the server runs.
    #[error("{0}")]
    NotReloadable(String),
    /// A file can't be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A running server. Dropping it shuts it down and waits for the end.
pub struct Server {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
}

struct Shared {
    broker: Arc<Broker>,
    /// The deadlines of all connections.
    ticker: Arc<Ticker>,
    /// The queue for checks of hashed passwords.
    turns: Arc<Turns>,
    identity: ServerIdentity,
    /// The TLS configuration of new connections; `None` without TLS.
    tls: Arc<RwLock<Option<Arc<TlsContext>>>>,
    options: RwLock<Arc<Options>>,
    /// Held during a reload.
    reloading: Mutex<()>,
    flags: FlagSet,
    client_addr: SocketAddr,
    monitor_addr: Option<SocketAddr>,
    log: Logger,
    /// True once the server accepts no new clients.
    closed_to_clients: watch::Sender<bool>,
    /// True once the server must stop.
    stop: watch::Sender<bool>,
    /// True once the server has ended.
    stopped: watch::Sender<bool>,
    done: (Mutex<bool>, Condvar),
    lame_duck: AtomicBool,
    companions: Mutex<Companions>,
    /// Ends the server after an internal error.
    fault: Fault,
    /// JetStream, while it runs.
    jetstream: Mutex<Option<Arc<JetStream>>>,
    /// The task that accepts clients; when it has ended, the listener is closed.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// The pid file and the ports file, which are removed when the server ends.
#[derive(Default)]
struct Companions {
    pid: Option<Companion>,
    ports: Option<Companion>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("client_addr", &self.shared.client_addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts a server. When this returns, the server accepts clients.
    ///
    /// # Errors
    /// Fails if the options are wrong, an address is in use or a file can't be used.
    pub fn start(options: Options, log: LogTarget) -> Result<Self, StartError> {
        Self::start_with_flags(options, FlagSet::default(), log)
    }

    /// Like [`Server::start`], with command-line flags. A reload applies these flags to the configuration file again.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with_flags(options: Options, flags: FlagSet, log: LogTarget) -> Result<Self, StartError> {
        // Refused options come first: the rest may refer to them, as `no_auth_user` can refer to an nkey.
        let refused: Vec<String> = options.refused().map(ToString::to_string).collect();
        if !refused.is_empty() {
            return Err(StartError::Unsupported(refused.join("\n")));
        }
        options.validate()?;
        let log = Logger::open(&options, log).map_err(|(path, source)| StartError::Io { path, source })?;
        let logger = log.clone();
        logger.scope(|| {
            let started = Self::start_logged(options, flags, log);
            match &started {
                Err(StartError::Listen { addr, source }) => {
                    let text = format!("listen tcp {addr}: bind: {}", os_error(source));
                    error!(target: FATAL, "Error listening on port: {addr}, {text:?}");
                }
                Err(StartError::JetStream(source)) => {
                    error!(target: FATAL, "Can't start JetStream: {source}");
                }
                _ => {}
            }
            started
        })
    }

    fn start_logged(options: Options, flags: FlagSet, log: Logger) -> Result<Self, StartError> {
        let start = SystemTime::now();
        let identity = ServerIdentity::generate();
        banner(&options, &identity);
        let tls = load_tls(&options)?;
        let clients = listen(&options.host, options.port)?;
        let client_addr = local_addr(&clients, &options.host)?;
        let monitoring = match options.http_port {
            0 => None,
            port => Some(listen(options.http_host(), port)?),
        };
        let monitor_addr = monitoring.as_ref().map(|l| local_addr(l, options.http_host())).transpose()?;

        let runtime = runtime(&log).map_err(StartError::Runtime)?;
        let meter = UsageMeter::new();
        let broker = Broker::new(BrokerSetup {
            info: settings::info(&options, &identity, client_addr.port()),
            options: settings::broker_options(&options),
            authenticator: settings::authenticator(&options),
            system_account: settings::system_account(&options).into(),
            accounts: options.accounts.iter().map(|a| a.name.clone()).collect(),
            seed: random().map_err(StartError::Random)?.random(),
            start,
            format_time: crate::time::rfc3339,
            clock: SystemTime::now,
            feature_flags: settings::feature_flags(&options),
            usage: Box::new(move || meter.measure()),
        });
        broker.set_exchange(&options.accounts);
        let stop = watch::Sender::new(false);
        let fault = Fault::new(stop.clone(), log.clone());
        let shared = Arc::new(Shared {
            broker,
            ticker: Arc::default(),
            turns: Turns::new(cores()),
            identity,
            tls: Arc::new(RwLock::new(tls)),
            options: RwLock::new(Arc::new(options)),
            reloading: Mutex::default(),
            flags,
            client_addr,
            monitor_addr,
            log,
            closed_to_clients: watch::Sender::new(false),
            stop,
            fault,
            stopped: watch::Sender::new(false),
            done: Default::default(),
            lame_duck: AtomicBool::new(false),
            companions: Mutex::default(),
            jetstream: Mutex::default(),
            accepting: Mutex::default(),
        });
        runtime.block_on(shared.open(clients, monitoring))?;
        Ok(Self { shared, runtime: Mutex::new(Some(runtime)) })
    }

    /// Returns the address on which clients connect.
    pub fn client_addr(&self) -> SocketAddr {
        self.shared.client_addr
    }

    /// Returns the URL on which clients connect.
    pub fn client_url(&self) -> String {
        format!("nats://{}", reachable(self.shared.client_addr))
    }

    /// Returns the URL of the monitoring port, if there is one.
    pub fn monitor_url(&self) -> Option<String> {
        self.shared.monitor_addr.map(|addr| format!("http://{}", reachable(addr)))
    }

    /// Returns the server's public nkey.
    pub fn server_id(&self) -> &str {
        self.shared.identity.id()
    }

    /// Returns the configured name, or the server's id.
    pub fn server_name(&self) -> String {
        self.shared.broker.info().server_name.clone()
    }

    /// Connects a client in this process, without a socket. The server treats it like any other client: it gets INFO,
    /// must log in and has its user's permissions. Returns `None` if the server accepts no clients any more.
    pub fn connect(&self, client: Arc<dyn PipeClient>) -> Option<Pipe> {
        let shared = &self.shared;
        let runtime = self.runtime.lock();
        let runtime = runtime.as_ref().filter(|_| !*shared.closed_to_clients.borrow())?;
        let (pipe, read, write) = pipe(client);
        let (broker, ticker, turns) = (shared.broker.clone(), shared.ticker.clone(), shared.turns.clone());
        runtime.spawn(connection::serve_pipe(read, write, broker, ticker, turns));
        Some(pipe)
    }

    /// Returns the server's figures, as `/varz` shows them.
    pub fn varz(&self) -> serde_json::Value {
        self.shared.monitor_state().varz()
    }

    /// Returns the server's connections in JSON, as `/connz?QUERY` shows them.
    ///
    /// # Errors
    /// Fails if the query is wrong.
    pub fn connz(&self, query: &str) -> Result<String, String> {
        self.shared.monitor_state().document(Document::Connections, query)
    }

    /// Returns the state of JetStream in JSON, as `/jsz?QUERY` shows it.
    ///
    /// # Errors
    /// Fails if the query is wrong or JetStream does not answer.
    pub fn jsz(&self, query: &str) -> Result<String, String> {
        self.shared.monitor_state().document(Document::JetStream, query)
    }

    /// Reads the configuration file again and applies the changes that are possible while the server runs: all of them or
    /// none.
    ///
    /// # Errors
    /// Fails if there is no file, the file is wrong, or an option changed that requires a restart.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.shared.log.scope(|| self.shared.reload())
    }

    /// Opens the log file again, after another program has renamed it.
    pub fn reopen_log(&self) {
        self.shared.log.scope(|| match self.shared.log.reopen() {
            Ok(true) => info!("File log re-opened"),
            Ok(false) => info!("File log re-open ignored, not a file logger"),
            Err(error) => error!("Unable to re-open the log file: {error}"),
        });
    }

    /// Enters lame duck mode; the server ends when its clients have left.
    pub fn lame_duck(&self) {
        if self.shared.lame_duck.swap(true, Ordering::AcqRel) || !self.is_running() {
            return;
        }
        let shared = self.shared.clone();
        if let Some(runtime) = &*self.runtime.lock() {
            let fault = shared.fault.clone();
            runtime.spawn(fault.watch("closes connections in lame duck mode", async move {
                shared.close_listener().await;
                let options = shared.options.read().clone();
                lame_duck::run(&shared.broker, options.lame_duck_duration, options.lame_duck_grace_period)
                    .await;
                shared.stop.send_replace(true);
            }));
        }
    }

    /// Requests the shutdown and returns at once.
    pub fn shutdown(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Waits until the server has ended, then frees its threads.
    pub fn wait(&self) {
        let (done, condition) = &self.shared.done;
        let mut ended = done.lock();
        while !*ended {
            condition.wait(&mut ended);
        }
        drop(ended);
        let Some(runtime) = self.runtime.lock().take() else { return };
        // Only responses of the monitoring port can still be in progress, and the shutdown does not wait for them.
        let free = move || runtime.shutdown_timeout(FREE_WITHIN);
        if tokio::runtime::Handle::try_current().is_ok() {
            // A runtime can't be dropped inside a task of another runtime, so a new thread drops it.
            drop(std::thread::spawn(free).join());
        } else {
            free();
        }
    }

    /// Returns whether the server has not ended yet.
    pub fn is_running(&self) -> bool {
        !*self.shared.done.0.lock()
    }

    /// Returns the internal error that ended the server or is about to end it.
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.reason()
    }

    #[cfg(test)]
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    #[cfg(test)]
    pub(crate) fn jetstream(&self) -> Option<Arc<JetStream>> {
        self.shared.jetstream.lock().clone()
    }

    /// Returns a receiver that becomes true when the server has ended.
    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.shared.stopped.subscribe()
    }

    /// Runs `f` with the server's log.
    pub(crate) fn log_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        self.shared.log.scope(f)
    }

    /// Returns whether SIGTERM is ignored, as nats-server does in lame duck mode.
    pub(crate) fn is_lame_duck(&self) -> bool {
        self.shared.lame_duck.load(Ordering::Acquire)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown();
        self.wait();
    }
}

impl Shared {
    /// Starts monitoring, JetStream, the client listener and the supervisor. Must run on the server's runtime.
    async fn open(
        self: &Arc<Self>,
        clients: std::net::TcpListener,
        monitoring: Option<std::net::TcpListener>,
    ) -> Result<(), StartError> {
        let options = self.options.read().clone();
        if let (Some(listener), Some(addr)) = (monitoring, self.monitor_addr) {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Runtime)?;
            info!("Starting http monitor on {}", join(options.http_host(), addr.port().into()));
            let stop = self.stop.subscribe();
            let monitoring = monitor::serve(listener, self.monitor_state(), stop);
            tokio::spawn(self.fault.clone().watch("serves monitoring", monitoring));
        }
        for field in &options.unsupported {
            warn!("{field}");
        }
        if options.jetstream {
            let jetstream = JetStream::start(&self.broker, &options, &self.log, &self.fault)?;
            *self.jetstream.lock() = Some(Arc::new(jetstream));
        }
        if options.has_plain_passwords() {
            warn!("Plaintext passwords detected, use nkeys or bcrypt");
        }
        let listener = tokio::net::TcpListener::from_std(clients).map_err(StartError::Runtime)?;
        let clock = self.ticker.clone();
        tokio::spawn(self.fault.clone().watch("keeps deadlines", async move { clock.run().await }));
        let stop = self.closed_to_clients.subscribe();
        let (broker, ticker, turns) = (self.broker.clone(), self.ticker.clone(), self.turns.clone());
        let accepting = listener::accept_clients(listener, broker, ticker, turns, self.tls.clone(), stop);
        let accepting = tokio::spawn(self.fault.clone().watch("accepts clients", accepting));
        *self.accepting.lock() = Some(accepting);
        info!("Listening for client connections on {}", join(&options.host, self.client_addr.port().into()));
        if options.tls.is_some() {
            info!("TLS required for client connections");
        }
        self.write_files(&options)?;
        info!("Server is ready");
        let shared = self.clone();
        tokio::spawn(async move {
            // `Ended` reports the end even if the supervisor panics, so no thread waits for ever.
            let _ended = Ended(shared.clone());
            shared.fault.clone().watch("ends the server", shared.supervise()).await;
        });
        Ok(())
    }

    /// Stops accepting clients. When this returns, the system refuses new connections.
    async fn close_listener(&self) {
        self.closed_to_clients.send_replace(true);
        let accepting = self.accepting.lock().take();
        if let Some(task) = accepting {
            // A panic of the task is already in the log.
            let _ = task.await;
        }
    }

    fn write_files(&self, options: &Options) -> Result<(), StartError> {
        self.write_pid_file(options).map_err(|(path, source)| StartError::Io { path, source })?;
        self.write_ports_file(options);
        Ok(())
    }

    /// Writes the pid file and removes the previous one.
    fn write_pid_file(&self, options: &Options) -> Result<(), (PathBuf, io::Error)> {
        let path = options.pid_file.as_ref();
        let file = path.map(|path| Companion::pid_file(path).map_err(|source| (path.clone(), source)));
        self.companions.lock().pid = file.transpose()?;
        Ok(())
    }

    /// Writes the ports file and removes the previous one.
    fn write_ports_file(&self, options: &Options) {
        let file = options.ports_file_dir.as_ref().and_then(|folder| {
            let clients = urls(if options.tls.is_some() { "tls" } else { "nats" }, self.client_addr);
            let monitoring = self.monitor_addr.map(|a| urls("http", a)).unwrap_or_default();
            let file = Companion::ports_file(folder, &clients, &monitoring);
            // As nats-server: a missing folder is no reason not to serve.
            file.inspect_err(|error| error!("Error writing ports file to {}: {error}", folder.display())).ok()
        });
        self.companions.lock().ports = file;
    }

    /// Waits for the request to stop, then ends everything.
    async fn supervise(&self) {
        let mut stop = self.stop.subscribe();
        let _ = stop.wait_for(|stop| *stop).await;
        info!("Initiating Shutdown...");
        self.close_listener().await;
        let jetstream = self.jetstream.lock().clone();
        if let Some(jetstream) = jetstream {
            // Clients with open pull requests get their answer before their connections end.
            let _ = tokio::task::spawn_blocking(move || jetstream.end_requests()).await;
        }
        for client in self.broker.clients() {
            client.close(ClosedReason::ServerShutdown);
        }
        let deadline = Instant::now() + CLOSE_WITHIN;
        while self.broker.client_count() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let jetstream = self.jetstream.lock().take();
        if let Some(jetstream) = jetstream {
            info!("Initiating JetStream Shutdown...");
            // The stop waits for the disk.
            let _ = tokio::task::spawn_blocking(move || jetstream.stop(true)).await;
            info!("JetStream Shutdown");
        }
        *self.companions.lock() = Companions::default();
        info!("Server Exiting..");
    }

    fn monitor_state(self: &Arc<Self>) -> MonitorState {
        let options = self.options.read().clone();
        let (shared, running) = (self.clone(), self.clone());
        MonitorState::new(
            self.broker.clone(),
            Arc::new(move || shared.options.read().clone()),
            Arc::new(move || running.jetstream.lock().clone()),
            self.monitor_addr,
            options.as_ref(),
        )
    }

    /// Waits until every session has noticed the reload, at most `RELOAD_WITHIN`: when the reload is reported as done, it
    /// applies to all.
    fn await_sessions(&self) {
        let deadline = Instant::now() + RELOAD_WITHIN;
        while self.broker.clients().iter().any(|c| c.is_flagged()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts JetStream if the reload turns it on. This is the last step of a reload that can fail.
    fn prepare_jetstream(&self, new: &Options) -> Result<Option<Arc<JetStream>>, ReloadError> {
        if !new.jetstream || self.jetstream.lock().is_some() {
            return Ok(None);
        }
        let started = JetStream::start(&self.broker, new, &self.log, &self.fault);
        started.map(|started| Some(Arc::new(started))).map_err(|e| ReloadError::NotReloadable(e.to_string()))
    }

    /// Installs JetStream that `prepare_jetstream` started, stops the running one, or updates its account limits.
    fn apply_jetstream(&self, started: Option<Arc<JetStream>>, old: &Options, new: &Options) {
        let running = {
            let mut slot = self.jetstream.lock();
            match started {
                Some(started) => {
                    *slot = Some(started.clone());
                    Some(started)
                }
                None if new.jetstream => slot.clone(),
                None => {
                    let stopped = slot.take();
                    drop(slot);
                    if let Some(stopped) = stopped {
                        info!("Initiating JetStream Shutdown...");
                        stopped.stop(false);
                        info!("JetStream Shutdown");
                    }
                    None
                }
            }
        };
        let is_changed = old.jetstream_accounts != new.jetstream_accounts || old.accounts != new.accounts;
        if let Some(running) = running.filter(|_| is_changed) {
            running.set_accounts(new);
        }
    }

    /// Writes the pid file and the ports file if their paths changed. As in nats-server, a failure is only logged.
    fn reload_files(&self, old: &Options, new: &Options) {
        if old.pid_file != new.pid_file
            && let Err((path, error)) = self.write_pid_file(new)
        {
            error!("Could not write pidfile: open {}: {}", path.display(), os_error(&error));
        }
        if old.ports_file_dir != new.ports_file_dir {
            self.write_ports_file(new);
        }
    }

    /// Reloads the configuration file. Every step that can fail comes before the first change.
    fn reload(&self) -> Result<(), ReloadError> {
        let _one_at_a_time = self.reloading.lock();
        if *self.stop.borrow() {
            return Err(ReloadError::NotReloadable("the server shuts down".into()));
        }
        let old = self.options.read().clone();
        let path = old.config_file.clone().ok_or(ReloadError::NoFile)?;
        let loaded = stonechat_config::load(&path, &self.flags)?;
        let mut new = loaded.options;
        new.validate()?;
        new.handle_signals = old.handle_signals;
        // A random port is no change: the file may contain the port that was bound since.
        let mut bound = Options::clone(&old);
        if new.port != old.port {
            bound.port = self.client_addr.port().into();
        }
        if let (Some(addr), true) = (self.monitor_addr, new.http_port != old.http_port) {
            bound.http_port = addr.port().into();
        }
        let old = bound;
        let changes = stonechat_config::reload::diff(&old, &new)
            .map_err(|e| ReloadError::NotReloadable(e.to_string()))?;
        let tls = load_tls(&new)?;
        let log = self.log.prepare(&new).map_err(|(path, source)| ReloadError::Io { path, source })?;
        let jetstream = self.prepare_jetstream(&new)?;
        // No step from here on can fail.
        self.log.apply(log);
        let new = Arc::new(new);
        *self.options.write() = new.clone();
        *self.tls.write() = tls;
        for change in &changes {
            info!("Reloaded: {change}");
        }
        if old.accounts != new.accounts {
            self.broker.set_exchange(&new.accounts);
        }
        self.apply_jetstream(jetstream, &old, &new);
        self.reload_files(&old, &new);
        self.broker.reload(
            settings::info(&new, &self.identity, self.client_addr.port()),
            settings::broker_options(&new),
            settings::authenticator(&new),
        );
        self.await_sessions();
        info!("Reloaded server configuration ({})", new.config_digest.as_deref().unwrap_or_default());
        Ok(())
    }
}

/// Reports the end of the server to all waiting threads and tasks when it is dropped.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stopped.send_replace(true);
        *self.0.done.0.lock() = true;
        self.0.done.1.notify_all();
    }
}

/// Reads the certificates, if the options ask for TLS.
pub(crate) fn load_tls(options: &Options) -> Result<Option<Arc<TlsContext>>, InvalidTls> {
    let Some(tls) = &options.tls else { return Ok(None) };
    let context = TlsContext::load(tls, settings::plain_allowed(options));
    let context =
        context.map_err(|source| InvalidTls { position: tls.position.clone(), source: Box::new(source) })?;
    Ok(Some(Arc::new(context)))
}

/// Returns the system's error text in Go's style: `no such file or directory`.
pub(crate) fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn banner(options: &Options, identity: &ServerIdentity) {
    info!("Starting nats-server");
    info!("  Version:  {COMPATIBLE_VERSION}");
    info!("  Git:      [not set]");
    info!("  Stonechat: {VERSION}");
    info!("  Name:     {}", options.server_name.as_deref().unwrap_or(identity.id()));
    info!("  ID:       {}", identity.id());
    if let Some(path) = &options.config_file {
        let digest = options.config_digest.as_deref().unwrap_or_default();
        info!("Using configuration file: {} ({digest})", path.display());
    }
}

fn runtime(log: &Logger) -> io::Result<Runtime> {
    let log = log.clone();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores())
        // Checks for new input after few tasks. Otherwise tasks with much work would delay the others.
        .event_interval(8)
        .thread_name("stonechat")
        .on_thread_start(move || log.adopt_thread())
        .on_thread_stop(Logger::leave_thread)
        .enable_all()
        .build()
}

fn listen(host: &str, port: i32) -> Result<std::net::TcpListener, StartError> {
    // -1 means any free port, as in nats-server.
    let number = u16::try_from(port.max(0)).unwrap_or(0);
    listener::open(host, number).map_err(|source| StartError::Listen { addr: join(host, port), source })
}

fn join(host: &str, port: i32) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Returns the address of a listener. For a listener on every address, the IP is the configured one.
fn local_addr(listener: &std::net::TcpListener, host: &str) -> Result<SocketAddr, StartError> {
    let addr = listener.local_addr().map_err(|source| StartError::Listen { addr: host.into(), source })?;
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Ok((ip, addr.port()).into()),
        _ => Ok(addr),
    }
}

/// Returns an address that a client on this machine can connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        ip if !ip.is_unspecified() => addr,
        std::net::IpAddr::V4(_) => (std::net::Ipv4Addr::LOCALHOST, addr.port()).into(),
        std::net::IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, addr.port()).into(),
    }
}

/// Returns the URLs of a listener. For a listener on every address there is one URL for each address of the machine's
/// interfaces.
fn urls(scheme: &str, addr: SocketAddr) -> Vec<String> {
    let mut ips = Vec::new();
    if addr.ip().is_unspecified() {
        // Go's order: by interface, and within an interface IPv4 addresses first.
        let mut interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let index = |i: &if_addrs::Interface| i.index.unwrap_or(u32::MAX);
        interfaces.sort_by_key(|interface| (index(interface), interface.ip().is_ipv6()));
        ips.extend(interfaces.iter().map(if_addrs::Interface::ip));
    }
    if ips.is_empty() {
        ips.push(reachable(addr).ip());
    }
    let url = |ip| format!("{scheme}://{}", SocketAddr::new(ip, addr.port()));
    ips.into_iter().map(url).collect()
}

/// Returns a cryptographic random generator, seeded by the system.
pub(crate) fn random() -> io::Result<StdRng> {
    StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)
}
