//! The transport of a connection that only its own task writes to.

use crate::net::transport::TcpSide;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use stonechat_broker::{Outbound, Transport};

/// The [`Transport`] of a connection that is encrypted, or may become so: a flush wakes the connection's task.
#[derive(Debug)]
pub(crate) struct OwnedTransport(pub(crate) Arc<TcpSide>);

impl Transport for OwnedTransport {
    fn flush(&self, _: &Outbound) {
        // The flag stays set until the task begins to write, so appends in between don't wake it again.
        if !self.0.output.swap(true, Ordering::AcqRel) {
            self.0.waker.wake();
        }
    }

    fn wake(&self) {
        self.0.waker.wake();
    }
}
