//! A running server, as Python holds it.

use std::collections::VecDeque;
use std::mem;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use pyo3::prelude::*;
use stonechat_server::{LogLevel, LogRecord, LogTarget, Server};

use crate::errors;
use crate::log_queue::{LogQueue, Shared};
use crate::settings::Settings;

/// A line of the log: seconds since the epoch, level of Python's `logging`, text.
type Line = (f64, u8, String);

/// A server that was started; it stays one object until it is dropped, running or not.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct Handle {
    server: Arc<Server>,
    tail: Arc<Tail>,
    /// An option that a reload could not keep.
    not_reloadable: Option<&'static str>,
    pid: u32,
}

#[pymethods]
impl Handle {
    /// Starts a server whose lines go to `queue` under `key`; the last `keep_lines` of them can be asked for.
    #[staticmethod]
    fn start(
        py: Python<'_>,
        settings: Settings,
        queue: &LogQueue,
        key: u64,
        keep_lines: usize,
    ) -> PyResult<Self> {
        let options = settings.options(py)?;
        let flags = settings.flags(&options);
        let not_reloadable = settings.not_reloadable();
        let tail = Arc::new(Tail { limit: keep_lines, lines: Mutex::default() });
        let log = log_target(key, queue.shared(), Arc::clone(&tail));
        let server = py
            .detach(|| Server::start_with_flags(options, flags, log))
            .map_err(|error| errors::start(py, &error))?;
        Ok(Self { server: Arc::new(server), tail, not_reloadable, pid: process::id() })
    }

    #[getter]
    fn host(&self) -> String {
        // Not the address that is bound: that may be "all of them".
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

    /// The document of `/varz`, as JSON.
    fn varz(&self, py: Python<'_>) -> String {
        py.detach(|| self.server.varz().to_string())
    }

    /// The last lines of the log.
    fn logs(&self) -> Vec<Line> {
        self.tail.lock().iter().cloned().collect()
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

    /// Begins to stop.
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
            // A forked child has none of the threads that dropping a server waits for. A reference that is never given
            // back keeps the server from being dropped.
            mem::forget(Arc::clone(&self.server));
            return;
        }
        self.server.shutdown();
        // While the interpreter goes down there is none to release, and none that could be held up.
        if Python::try_attach(|py| py.detach(|| self.server.wait())).is_none() {
            self.server.wait();
        }
    }
}

/// The last lines of a server's log.
struct Tail {
    limit: usize,
    lines: Mutex<VecDeque<Line>>,
}

impl Tail {
    fn push(&self, line: Line) {
        let mut lines = self.lock();
        if lines.len() >= self.limit {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_target(key: u64, queue: Arc<Shared>, tail: Arc<Tail>) -> LogTarget {
    LogTarget::Callback(Arc::new(move |record: LogRecord| {
        let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let level = python_level(record.level);
        tail.push((time, level, record.message.clone()));
        queue.push((key, time, level, record.message));
    }))
}

/// The levels of Python's `logging`, and 5 for the trace that it has no level for.
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
