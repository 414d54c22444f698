//! Ctrl-C, caught from the beginning of a command.

use std::io;

use tokio::task::JoinHandle;

/// Waits for Ctrl-C in the background. Made first, so that there is no moment in which the signal ends the process in
/// the system's way after the command has said that it is ready.
pub(crate) struct Interrupt(JoinHandle<io::Result<()>>);

impl Interrupt {
    /// Begins to wait; the first pause of the caller lets it take hold.
    pub(crate) fn catch() -> Self {
        Self(tokio::spawn(tokio::signal::ctrl_c()))
    }

    /// Ends when the user presses Ctrl-C. To be asked once.
    pub(crate) async fn pressed(&mut self) {
        match (&mut self.0).await {
            Ok(Ok(())) => {}
            // Where signals can't be caught, Ctrl-C ends the process by itself.
            _ => std::future::pending().await,
        }
    }
}
