//! Signals of the standalone server, until it ends.

use crate::server::Server;
#[cfg(unix)]
use tracing::{error, info, warn};

/// Answers signals until the server has ended.
#[cfg(unix)]
pub(super) fn serve(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => server.log_scope(|| runtime.block_on(answer(server))),
        Err(error) => server.log_scope(|| warn!("Signals can't be answered: {error}")),
    }
    server.wait();
}

#[cfg(unix)]
async fn answer(server: &Server) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut stopped = server.stopped();
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut reopen), Ok(mut lame_duck), Ok(mut reload)] =
        kinds.map(signal)
    else {
        warn!("Signals can't be answered");
        let _ = stopped.wait_for(|stopped| *stopped).await;
        return;
    };
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = interrupt.recv() => {
                trapped("interrupt");
                server.shutdown();
            }
            _ = terminate.recv() => {
                trapped("terminated");
                if !server.is_lame_duck() {
                    server.shutdown();
                }
            }
            _ = reopen.recv() => {
                trapped("user defined signal 1");
                server.reopen_log();
            }
            _ = lame_duck.recv() => {
                trapped("user defined signal 2");
                server.lame_duck();
            }
            _ = reload.recv() => {
                trapped("hangup");
                if let Err(error) = server.reload() {
                    error!("Failed to reload server configuration: {error}");
                }
            }
        }
    }
}

#[cfg(unix)]
fn trapped(name: &str) {
    info!("Trapped {name:?} signal");
}

/// Answers Ctrl-C until the server has ended.
#[cfg(not(unix))]
pub(super) fn serve(server: &Server) {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(async {
            let mut stopped = server.stopped();
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                _ = tokio::signal::ctrl_c() => server.shutdown(),
            }
        });
    }
    server.wait();
}
