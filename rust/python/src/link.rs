//! The Python object of a client in the server's own process, see `stonechat._link`.

use std::mem;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stonechat_client::{Client, Message, Receiver, Taken};

use crate::errors;
use crate::handle::Handle;

/// The longest wait between two checks for Ctrl-C.
const SLICE: Duration = Duration::from_millis(50);

/// A message: subject, reply subject, block of headers, payload.
type Parts<'py> = (String, Option<String>, Option<Bound<'py, PyBytes>>, Bound<'py, PyBytes>);

/// A connection without a socket.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct Link {
    client: Arc<Client>,
    pid: u32,
}

#[pymethods]
impl Link {
    /// Connects to the server. `login` is a JSON object whose fields go into CONNECT.
    #[staticmethod]
    fn connect(py: Python<'_>, handle: &Handle, login: &str, inbox: &str, seconds: f64) -> PyResult<Self> {
        let login = serde_json::from_str(login).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let wait = duration(seconds);
        let client = py.detach(|| Client::connect(handle.server(), &login, inbox, wait));
        let client = client.map_err(|error| errors::link(py, &error))?;
        Ok(Self { client: Arc::new(client), pid: process::id() })
    }

    #[getter]
    fn max_payload(&self, py: Python<'_>) -> PyResult<usize> {
        check_process(py, self.pid)?;
        Ok(self.client.max_payload())
    }

    #[getter]
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        check_process(py, self.pid)?;
        Ok(self.client.is_closed())
    }

    /// Publishes a message; `headers` is a complete block of headers.
    #[pyo3(signature = (subject, payload, headers=None, reply=None))]
    fn publish(
        &self,
        py: Python<'_>,
        subject: &str,
        payload: &[u8],
        headers: Option<&[u8]>,
        reply: Option<&str>,
    ) -> PyResult<()> {
        check_process(py, self.pid)?;
        let published = py.detach(|| self.client.publish(subject, reply, headers, payload));
        published.map_err(|error| errors::link(py, &error))
    }

    /// Subscribes; at most `most` messages wait.
    fn subscribe(&self, py: Python<'_>, subject: &str, most: usize) -> PyResult<Inbox> {
        check_process(py, self.pid)?;
        let receiver = py.detach(|| self.client.subscribe(subject, most));
        receiver.map(Inbox::new).map_err(|error| errors::link(py, &error))
    }

    /// Publishes a request; the replies arrive in the returned inbox.
    #[pyo3(signature = (subject, payload, headers=None))]
    fn request(
        &self,
        py: Python<'_>,
        subject: &str,
        payload: &[u8],
        headers: Option<&[u8]>,
    ) -> PyResult<Inbox> {
        check_process(py, self.pid)?;
        let receiver = py.detach(|| self.client.request(subject, headers, payload));
        receiver.map(Inbox::new).map_err(|error| errors::link(py, &error))
    }

    /// Returns a new inbox subject of this connection.
    fn inbox(&self, py: Python<'_>) -> PyResult<String> {
        check_process(py, self.pid)?;
        Ok(self.client.inbox())
    }

    /// Waits for tokens given to [`Inbox::tell`]; `None` once the connection has ended.
    fn notices(&self, py: Python<'_>, seconds: f64) -> PyResult<Option<Vec<u64>>> {
        check_process(py, self.pid)?;
        Ok(py.detach(|| self.client.notices(duration(seconds))))
    }

    /// Ends the connection.
    fn close(&self, py: Python<'_>) {
        if self.pid == process::id() {
            py.detach(|| self.client.close());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.pid != process::id() {
            // The child's copy of the client may contain locks that stay locked for ever, so it is leaked.
            mem::forget(Arc::clone(&self.client));
        }
    }
}

/// The messages of a subscription, or the replies to a request.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct Inbox {
    receiver: Arc<Receiver>,
    pid: u32,
}

impl Inbox {
    fn new(receiver: Receiver) -> Self {
        Self { receiver: Arc::new(receiver), pid: process::id() }
    }
}

#[pymethods]
impl Inbox {
    /// Waits for the next message; `None` if none arrives in time. Without `seconds` it waits for ever.
    #[pyo3(signature = (seconds=None))]
    fn take<'py>(&self, py: Python<'py>, seconds: Option<f64>) -> PyResult<Option<Parts<'py>>> {
        check_process(py, self.pid)?;
        let deadline = seconds.map(|seconds| Instant::now() + duration(seconds));
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
            // A message that is already there is taken without detaching from the interpreter, which would cost more.
            let taken = match self.receiver.take(Duration::ZERO) {
                Taken::Nothing => py.detach(|| self.receiver.take(left.min(SLICE))),
                taken => taken,
            };
            match taken {
                Taken::Message(message) => return Ok(Some(parts(py, &message))),
                Taken::Refused(text) => return Err(errors::not_allowed(py, &text)),
                Taken::Closed => return Err(errors::closed(py)),
                Taken::Nothing if left.is_zero() => return Ok(None),
                Taken::Nothing => py.check_signals()?,
            }
        }
    }

    /// Requests one notice with this token as soon as a message is there.
    fn tell(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        check_process(py, self.pid)?;
        self.receiver.tell(token);
        Ok(())
    }

    /// Returns the number of messages that were dropped because too many waited.
    #[getter]
    fn dropped(&self, py: Python<'_>) -> PyResult<u64> {
        check_process(py, self.pid)?;
        Ok(self.receiver.dropped())
    }

    /// Stops receiving messages and wakes waiting callers. Does not wait.
    fn close(&self) {
        if self.pid == process::id() {
            self.receiver.close();
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.pid != process::id() {
            mem::forget(Arc::clone(&self.receiver));
        }
    }
}

/// Refuses use in a forked child, where locks that the parent's threads held stay locked for ever.
fn check_process(py: Python<'_>, pid: u32) -> PyResult<()> {
    if pid == process::id() { Ok(()) } else { Err(errors::wrong_process(py, pid)) }
}

fn parts<'py>(py: Python<'py>, message: &Message) -> Parts<'py> {
    let headers = message.headers.as_deref().map(|headers| PyBytes::new(py, headers));
    (message.subject.clone(), message.reply.clone(), headers, PyBytes::new(py, &message.payload))
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0))
        .unwrap_or(Duration::from_secs(86_400))
        .min(Duration::from_secs(86_400))
}
