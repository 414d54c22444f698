//! How bytes leave a connection that only its own task writes to.

use crate::net::transport::TcpSide;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use stonechat_broker::{Outbound, Transport};

/// The [`Transport`] of a connection that is, or may yet be, encrypted: a flush wakes the task that owns it.
#[derive(Debug)]
pub(crate) struct OwnedTransport(pub(crate) Arc<TcpSide>);

impl Transport for OwnedTransport {
    fn flush(&self, _: &Outbound) {
        // Who appends wakes once: the flag stays up until the task begins to write.
        if !self.0.output.swap(true, Ordering::AcqRel) {
            self.0.waker.wake();
        }
    }

    fn wake(&self) {
        self.0.waker.wake();
    }
}
