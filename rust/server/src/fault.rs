//! Faults: errors of the server itself, after which it must not go on.
//!
//! A panic in one of the tasks or threads that a server cannot do without would leave a server that looks alive and
//! does half of its work. It ends the whole server instead.

use crate::logging::{FATAL, Logger};
use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::error;

/// Where a server's parts report that it must end; all clones belong to the same server.
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
    /// `stop` becomes true with the first fault.
    pub(crate) fn new(stop: watch::Sender<bool>, log: Logger) -> Self {
        Self(Arc::new(State { reason: Mutex::default(), stop, log }))
    }

    /// Logs the fault and ends the server; the first reason stands.
    pub(crate) fn raise(&self, reason: String) {
        self.0.log.scope(|| error!(target: FATAL, "Internal error, the server ends: {reason}"));
        self.0.reason.lock().get_or_insert(reason);
        self.0.stop.send_replace(true);
    }

    /// Why the server ended or is about to, if a fault is the reason.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.reason.lock().clone()
    }

    /// Runs a task that the server cannot do without: a panic in it is a fault.
    pub(crate) async fn watch<T>(self, task: &'static str, future: impl Future<Output = T>) -> T {
        let _guard = Guard { fault: self, task };
        future.await
    }
}

/// Reports the panic of the task that drops it.
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

/// Calls `f`; a panic in it becomes an error that says what it said.
///
/// The caller must drop whatever `f` has changed, since its state is unknown after a panic.
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
