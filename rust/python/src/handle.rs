//! The Python object of a running server.

use std::collections::VecDeque;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stonechat_server::{LogLevel, LogRecord, LogTarget, Server};

use crate::errors;
use crate::log_queue::{LogQueue, Shared};
use crate::settings::Settings;

/// A log line: seconds since the epoch, level of Python's `logging`, text.
type Line = (f64, u8, String);

/// A started server. The object stays valid until it is dropped, even after the server has stopped.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct Handle {
    server: Arc<Server>,
    tail: Arc<Tail>,
    /// The protocol trace, if messages are recorded.
    tape: Option<Arc<Tail>>,
    /// The first option that a reload could not keep.
    not_reloadable: Option<&'static str>,
    pid: u32,
}

impl Handle {
    /// Returns the server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

#[pymethods]
impl Handle {
    /// Starts a server whose log lines go to `queue` under `key`. The last `keep_lines` of them are kept.
    #[staticmethod]
    fn start(
        py: Python<'_>,
        settings: Settings,
        queue: &LogQueue,
        key: u64,
        keep_lines: usize,
    ) -> PyResult<Self> {
        let mut options = settings.options(py)?;
        let is_trace_logged = options.trace;
        options.trace |= settings.record();
        let flags = settings.flags(&options);
        let not_reloadable = settings.not_reloadable();
        let tail = Arc::new(Tail::new(keep_lines, usize::MAX));
        let tape = settings.record().then(|| Arc::new(Tail::new(TAPE_LINES, TAPE_BYTES)));
        let log = LogSplitter {
            key,
            queue: queue.shared(),
            tail: Arc::clone(&tail),
            tape: tape.clone(),
            is_trace_logged,
        };
        let log = LogTarget::Callback(Arc::new(move |record| log.take(record)));
        let server = py
            .detach(|| Server::start_with_flags(options, flags, log))
            .map_err(|error| errors::start(py, &error))?;
        Ok(Self { server: Arc::new(server), tail, tape, not_reloadable, pid: process::id() })
    }

    #[getter]
    fn host(&self) -> String {
        // The host of the URL, because the bound address may be the wildcard address.
        let url = self.server.client_url();
        let authority = url.rsplit("//").next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.server.client_addr().port()
    }

    #[getter]
    fn url(&self) -> String {
        self.server.client_url()
    }

    #[getter]
    fn monitor_url(&self) -> Option<String> {
        self.server.monitor_url()
    }

    #[getter]
    fn server_id(&self) -> &str {
        self.server.server_id()
    }

    #[getter]
    fn server_name(&self) -> String {
        self.server.server_name()
    }

    #[getter]
    fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Returns the internal error that ended the server, if there is one.
    #[getter]
    fn fault(&self) -> Option<String> {
        self.server.fault()
    }

    /// Returns the document of `/varz`, as JSON.
    fn varz(&self, py: Python<'_>) -> String {
        py.detach(|| self.server.varz().to_string())
    }

    /// Returns the document of `/connz`, as JSON.
    fn connz(&self, py: Python<'_>, query: &str) -> PyResult<String> {
        py.detach(|| self.server.connz(query)).map_err(PyValueError::new_err)
    }

    /// Returns the document of `/jsz`, as JSON.
    fn jsz(&self, py: Python<'_>, query: &str) -> PyResult<String> {
        py.detach(|| self.server.jsz(query)).map_err(PyValueError::new_err)
    }

    /// Returns the last lines of the protocol trace; `None` if messages are not recorded.
    fn tape(&self) -> Option<Vec<Line>> {
        self.tape.as_ref().map(|tape| tape.copy())
    }

    /// Returns the last lines of the log.
    fn logs(&self) -> Vec<Line> {
        self.tail.copy()
    }

    /// Reads the configuration file again.
    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(option) = self.not_reloadable {
            return Err(errors::lost_by_reload(py, option));
        }
        py.detach(|| self.server.reload()).map_err(|error| errors::reload(py, &error))
    }

    /// Enters lame duck mode.
    fn lame_duck(&self, py: Python<'_>) {
        py.detach(|| self.server.lame_duck());
    }

    /// Requests the server to stop.
    fn shutdown(&self, py: Python<'_>) {
        py.detach(|| self.server.shutdown());
    }

    /// Waits until the server has stopped.
    fn wait(&self, py: Python<'_>) {
        py.detach(|| self.server.wait());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.pid != process::id() {
            // A forked child lacks the threads that the drop of a server waits for. This leaked reference keeps the
            // server from being dropped.
            mem::forget(Arc::clone(&self.server));
            return;
        }
        self.server.shutdown();
        // During finalization there is no interpreter to release.
        if Python::try_attach(|py| py.detach(|| self.server.wait())).is_none() {
            self.server.wait();
        }
    }
}

/// The maximum lines of a recorded protocol trace.
const TAPE_LINES: usize = 100_000;
/// The maximum bytes of these lines.
const TAPE_BYTES: usize = 32 << 20;

/// The last lines of a log, with limits for lines and bytes.
struct Tail {
    max_lines: usize,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Tail {
    fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { max_lines, max_bytes, kept: Mutex::default() }
    }

    fn push(&self, line: Line) {
        let mut kept = self.lock();
        kept.bytes += line.2.len();
        kept.lines.push_back(line);
        while kept.lines.len() > self.max_lines || kept.bytes > self.max_bytes {
            let Some((_, _, text)) = kept.lines.pop_front() else { break };
            kept.bytes -= text.len();
        }
    }

    fn copy(&self) -> Vec<Line> {
        self.lock().lines.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver of the server's log lines: recorded trace lines go to the tape, all lines that the user enabled go to
/// Python.
struct LogSplitter {
    key: u64,
    queue: Arc<Shared>,
    tail: Arc<Tail>,
    tape: Option<Arc<Tail>>,
    /// Whether the trace is part of the log, and not only recorded.
    is_trace_logged: bool,
}

impl LogSplitter {
    fn take(&self, record: LogRecord) {
        let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let level = python_level(record.level);
        if let (LogLevel::Trace, Some(tape)) = (record.level, &self.tape) {
            if !self.is_trace_logged {
                tape.push((time, level, record.message));
                return;
            }
            tape.push((time, level, record.message.clone()));
        }
        self.tail.push((time, level, record.message.clone()));
        self.queue.push((self.key, time, level, record.message));
    }
}

/// Returns the level of Python's `logging`, or 5 for trace, which has no level there.
fn python_level(level: LogLevel) -> u8 {
    match level {
        LogLevel::Fatal => 50,
        LogLevel::Error => 40,
        LogLevel::Warn => 30,
        LogLevel::Info => 20,
        LogLevel::Debug => 10,
        LogLevel::Trace => 5,
    }
}
