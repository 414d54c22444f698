//! Lame duck mode: no new clients, and the old ones leave one by one, so that the servers they move to are not stormed.

use std::sync::Arc;
use std::time::Duration;
use stonechat_broker::{Broker, ClosedReason};
use tracing::info;

/// Between two closes at most.
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Tells clients, waits the grace period, and closes them over the rest of the duration.
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
