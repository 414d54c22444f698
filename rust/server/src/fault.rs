//! Faults: internal errors after which the server must not continue.
//!
//! Without one of its essential tasks or threads, a server would look alive but do only half of its work. So a panic in
//! one of them ends the whole server.

use crate::logging::{FATAL, Logger};
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::error;

/// The receiver of faults; all clones belong to the same server.
#[derive(Clone)]
pub(crate) struct Fault(Arc<State>);

struct State {
    reason: Mutex<Option<String>>,
    stop: watch::Sender<bool>,
    log: Logger,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

impl Fault {
    /// Creates a receiver that sets `stop` at the first fault.
    pub(crate) fn new(stop: watch::Sender<bool>, log: Logger) -> Self {
        Self(Arc::new(State { reason: Mutex::default(), stop, log }))
    }

    /// Logs the fault and ends the server. The first reason is kept.
    pub(crate) fn raise(&self, reason: String) {
        self.0.log.scope(|| error!(target: FATAL, "Internal error, the server ends: {reason}"));
        self.0.reason.lock().get_or_insert(reason);
        self.0.stop.send_replace(true);
    }

    /// Returns the fault that ended the server or is about to end it.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.reason.lock().clone()
    }

    /// Runs an essential task: a panic in it is a fault.
    pub(crate) async fn watch<T>(self, task: &'static str, future: impl Future<Output = T>) -> T {
        let _guard = Guard { fault: self, task };
        future.await
    }
}

/// A guard that raises a fault if its task panics.
struct Guard {
    fault: Fault,
    task: &'static str,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fault.raise(format!("the task that {} panicked", self.task));
        }
    }
}

/// Calls `f`; a panic in it becomes an error with the panic's message.
///
/// The caller must drop everything that `f` has changed, since its state is unknown after a panic.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "panicked".to_owned(), |text| format!("panicked: {text}"))
}

#[cfg(test)]
pub(crate) mod tests;
