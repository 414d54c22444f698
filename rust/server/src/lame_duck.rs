//! Lame duck mode: the server accepts no new clients and closes the old ones one by one, so that they don't storm other
//! servers.

use std::sync::Arc;
use std::time::Duration;
use stonechat_broker::{Broker, ClosedReason};
use tracing::info;

/// The longest time between two closes.
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Announces lame duck mode to clients, waits the grace period, and closes clients over the rest of the duration.
pub(crate) async fn run(broker: &Arc<Broker>, duration: Duration, grace: Duration) {
    info!("Entering lame duck mode, stop accepting new clients");
    broker.enter_lame_duck();
    if broker.client_count() == 0 {
        return;
    }
    tokio::time::sleep(grace).await;
    let clients = broker.clients();
    let share = duration.saturating_sub(grace) / clients.len().max(1) as u32;
    let interval = share.min(INTERVAL_MAX);
    if !clients.is_empty() {
        info!("Closing existing clients");
    }
    for (i, client) in clients.iter().enumerate() {
        client.close(ClosedReason::ServerShutdown);
        if i + 1 < clients.len() {
            tokio::time::sleep(interval).await;
        }
    }
}
