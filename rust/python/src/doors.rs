//! Triggers for faults, only in the module that `make doors` builds for tests. No wheel has them.

use std::io::IoSlice;
use std::sync::Arc;

use pyo3::prelude::*;
use stonechat_server::{Pipe, PipeClient};

use crate::errors;
use crate::handle::Handle;

/// A client that panics on the thread that delivers a message to it.
struct Bomb;

impl PipeClient for Bomb {
    fn receive(&self, bytes: &[IoSlice<'_>]) {
        let said: Vec<u8> = bytes.iter().flat_map(|piece| piece.iter().copied()).collect();
        assert!(!said.windows(4).any(|word| word == b"MSG "), "injected into a delivery");
    }

    fn closed(&self) {}
}

/// The connection of the panicking client; it closes when this object is dropped.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct Planted(#[expect(dead_code, reason = "it is only kept")] Pipe);

/// Makes the thread panic that delivers a message on the subject.
#[pyfunction]
pub(crate) fn plant(py: Python<'_>, handle: &Handle, subject: &str) -> PyResult<Planted> {
    let pipe = handle.server().connect(Arc::new(Bomb)).ok_or_else(|| errors::closed(py))?;
    let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\n");
    pipe.send(&[hello.as_bytes()]).map_err(|_| errors::closed(py))?;
    Ok(Planted(pipe))
}
