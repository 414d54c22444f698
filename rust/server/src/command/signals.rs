//! Signal handling of the standalone server.

use crate::server::Server;
use std::io;
use tokio::runtime::{Builder, Runtime};
use tracing::warn;
#[cfg(unix)]
use {
    tokio::signal::unix::{Signal, SignalKind, signal},
    tracing::{error, info},
};

/// The caught signals of the process.
pub(super) struct Signals(io::Result<(Runtime, Caught)>);

#[cfg(unix)]
struct Caught {
    interrupt: Signal,
    terminate: Signal,
    reopen: Signal,
    lame_duck: Signal,
    reload: Signal,
    /// Caught so that a write beyond the file size limit (`ulimit -f`) is an error and does not end the process.
    _file_too_large: Signal,
}

#[cfg(not(unix))]
struct Caught;

impl Signals {
    /// Starts to catch signals.
    pub(super) fn install() -> Self {
        Self(Builder::new_current_thread().enable_all().build().and_then(|runtime| {
            let caught = runtime.block_on(async { Caught::new() })?;
            Ok((runtime, caught))
        }))
    }

    /// Handles signals until the server has ended.
    pub(super) fn serve(self, server: &Server) {
        server.log_scope(|| match self.0 {
            Ok((runtime, caught)) => runtime.block_on(caught.answer(server)),
            Err(error) => warn!("Signals can't be answered: {error}"),
        });
        server.wait();
    }
}

#[cfg(unix)]
impl Caught {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reopen: signal(SignalKind::user_defined1())?,
            lame_duck: signal(SignalKind::user_defined2())?,
            reload: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    async fn answer(mut self, server: &Server) {
        let mut stopped = server.stopped();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return,
                _ = self.interrupt.recv() => {
                    trapped("interrupt");
                    server.shutdown();
                }
                _ = self.terminate.recv() => {
                    trapped("terminated");
                    if !server.is_lame_duck() {
                        server.shutdown();
                    }
                }
                _ = self.reopen.recv() => {
                    trapped("user defined signal 1");
                    server.reopen_log();
                }
                _ = self.lame_duck.recv() => {
                    trapped("user defined signal 2");
                    server.lame_duck();
                }
                _ = self.reload.recv() => {
                    trapped("hangup");
                    if let Err(error) = server.reload() {
                        error!("Failed to reload server configuration: {error}");
                    }
                }
            }
        }
    }
}

#[cfg(unix)]
fn trapped(name: &str) {
    info!("Trapped {name:?} signal");
}

#[cfg(not(unix))]
impl Caught {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn answer(self, server: &Server) {
        let mut stopped = server.stopped();
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            _ = tokio::signal::ctrl_c() => server.shutdown(),
        }
    }
}
