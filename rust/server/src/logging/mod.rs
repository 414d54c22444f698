//! Log lines: formats `tracing` events, for each server separately, like nats-server, because programs parse the lines.
//!
//! Each server has its own dispatch, which its runtime's threads carry. Nothing global is set, so a process can hold
//! several servers. Events of other crates don't concern the users of a broker and are left out.

mod file;
mod record;

pub use record::{LogLevel, LogRecord, LogTarget};

use file::LogFile;
use parking_lot::RwLock;
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::SystemTime;
use stonechat_config::Options;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, span};

/// The target of events that end the server.
pub(crate) const FATAL: &str = "stonechat_fatal";

thread_local! {
    static GUARD: RefCell<Option<tracing::dispatcher::DefaultGuard>> = const { RefCell::new(None) };
}

/// A server's log.
#[derive(Clone)]
pub(crate) struct Logger {
    inner: Arc<Inner>,
    dispatch: Dispatch,
}

struct Inner {
    debug: AtomicBool,
    trace: AtomicBool,
    sink: RwLock<Sink>,
}

/// The log that [`Logger::prepare`] opened for a reload.
pub(crate) struct PreparedLog {
    debug: bool,
    trace: bool,
    /// `None` if the embedding program takes the lines.
    sink: Option<Sink>,
}

/// The destination of log lines.
enum Sink {
    Stderr { style: Style },
    File { file: LogFile, style: Style },
    Callback(Arc<dyn Fn(LogRecord) + Send + Sync>),
    Discard,
}

/// The format of log lines.
#[derive(Clone, Copy)]
struct Style {
    time: bool,
    utc: bool,
    colour: bool,
}

impl Logger {
    /// Opens the log that the options or the embedding program ask for.
    ///
    /// # Errors
    /// Fails if the log file can't be opened. The error has its path.
    pub(crate) fn open(options: &Options, target: LogTarget) -> Result<Self, (PathBuf, io::Error)> {
        let sink = match target {
            LogTarget::Options => sink(options)?,
            LogTarget::Callback(callback) => Sink::Callback(callback),
            LogTarget::Discard => Sink::Discard,
        };
        let (debug, trace) = (AtomicBool::new(options.debug), AtomicBool::new(is_traced(options)));
        let inner = Arc::new(Inner { debug, trace, sink: RwLock::new(sink) });
        let dispatch = Dispatch::new(Events(inner.clone()));
        Ok(Self { inner, dispatch })
    }

    /// Makes this log the current thread's.
    pub(crate) fn adopt_thread(&self) {
        let guard = tracing::dispatcher::set_default(&self.dispatch);
        GUARD.with(|slot| slot.replace(Some(guard)));
    }

    /// Reverts [`Logger::adopt_thread`].
    pub(crate) fn leave_thread() {
        GUARD.with(|slot| slot.replace(None));
    }

    /// Runs `f` with this log.
    pub(crate) fn scope<R>(&self, f: impl FnOnce() -> R) -> R {
        tracing::dispatcher::with_default(&self.dispatch, f)
    }

    /// Reopens the log file, after another program has renamed it. Returns false if the log is no file.
    pub(crate) fn reopen(&self) -> io::Result<bool> {
        match &*self.inner.sink.read() {
            Sink::File { file, .. } => file.reopen().map(|()| true),
            _ => Ok(false),
        }
    }

    /// Opens the log of new options for a reload, but changes nothing yet.
    ///
    /// # Errors
    /// Fails if the log file can't be opened. The error has its path.
    pub(crate) fn prepare(&self, options: &Options) -> Result<PreparedLog, (PathBuf, io::Error)> {
        let is_own = matches!(&*self.inner.sink.read(), Sink::Stderr { .. } | Sink::File { .. });
        let sink = if is_own { Some(sink(options)?) } else { None };
        Ok(PreparedLog { debug: options.debug, trace: is_traced(options), sink })
    }

    /// Switches to the prepared log.
    pub(crate) fn apply(&self, prepared: PreparedLog) {
        self.inner.debug.store(prepared.debug, Relaxed);
        self.inner.trace.store(prepared.trace, Relaxed);
        if let Some(sink) = prepared.sink {
            *self.inner.sink.write() = sink;
        }
        tracing::callsite::rebuild_interest_cache();
    }
}

fn is_traced(options: &Options) -> bool {
    options.trace || options.trace_verbose || options.trace_headers
}

fn sink(options: &Options) -> Result<Sink, (PathBuf, io::Error)> {
    let style = Style { time: options.logtime, utc: options.logtime_utc, colour: false };
    Ok(match &options.log_file {
        Some(path) => {
            let file = LogFile::open(path, options.logfile_size_limit, options.logfile_max_num);
            Sink::File { file: file.map_err(|e| (path.clone(), e))?, style }
        }
        None => Sink::Stderr { style: Style { colour: io::stderr().is_terminal(), ..style } },
    })
}

impl Style {
    fn line(self, record: &LogRecord) -> String {
        let mut line = format!("[{}] ", std::process::id());
        if self.time {
            line += &crate::time::log_stamp(record.time, self.utc);
            line.push(' ');
        }
        let (label, colour) = (record.level.label(), record.level.colour());
        let _ = match self.colour {
            true => writeln!(line, "[\x1b[{colour}m{label}\x1b[0m] {}", record.message),
            false => writeln!(line, "[{label}] {}", record.message),
        };
        line
    }
}

impl Inner {
    fn write(&self, record: LogRecord) {
        match &*self.sink.read() {
            // There is no place to report that the log can't be written.
            Sink::Stderr { style } => drop(io::stderr().write_all(style.line(&record).as_bytes())),
            Sink::File { file, style } => file.write(&style.line(&record), |text| {
                let level = LogLevel::Info;
                style.line(&LogRecord { level, message: text.into(), time: record.time })
            }),
            Sink::Callback(callback) => callback(record),
            Sink::Discard => {}
        }
    }
}

/// A subscriber of `tracing` for the events of the server's crates.
struct Events(Arc<Inner>);

impl Subscriber for Events {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.is_event() && metadata.target().starts_with("stonechat") {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stonechat")
            && match *metadata.level() {
                Level::TRACE => self.0.trace.load(Relaxed),
                Level::DEBUG => self.0.debug.load(Relaxed),
                _ => true,
            }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match (self.0.trace.load(Relaxed), self.0.debug.load(Relaxed)) {
            (true, _) => LevelFilter::TRACE,
            (false, true) => LevelFilter::DEBUG,
            (false, false) => LevelFilter::INFO,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = match *event.metadata().level() {
            Level::ERROR if event.metadata().target() == FATAL => LogLevel::Fatal,
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG => LogLevel::Debug,
            Level::TRACE => LogLevel::Trace,
        };
        self.0.write(LogRecord { level, message: message.0, time: SystemTime::now() });
    }

    // The server uses no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
