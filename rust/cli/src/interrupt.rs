//! Handling of Ctrl-C from the start of a command.

use std::io;

use tokio::task::JoinHandle;

/// A background task that waits for Ctrl-C. A command creates it first: after the command has printed that it is ready, the
/// signal must not end the process in the system's default way.
pub(crate) struct Interrupt(JoinHandle<io::Result<()>>);

impl Interrupt {
    /// Starts to wait; the task takes effect when the caller first yields.
    pub(crate) fn catch() -> Self {
        Self(tokio::spawn(tokio::signal::ctrl_c()))
    }

    /// Waits until the user presses Ctrl-C. Call it at most once.
    pub(crate) async fn pressed(&mut self) {
        match (&mut self.0).await {
            Ok(Ok(())) => {}
            // If signals can't be handled, Ctrl-C ends the process by itself.
            _ => std::future::pending().await,
        }
    }
}
