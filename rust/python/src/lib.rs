//! The PyO3 module: thin bindings for the server and the command line.
//!
//! The user's API is in `python/stonechat`. This crate has only the parts that need Rust:
//!
//! - a running server ([`Handle`])
//! - clients without a socket ([`Link`])
//! - the rules of buckets
//! - the queue that carries log lines to Python ([`LogQueue`])
//! - the two commands
//!
//! Calls detach from the interpreter while Rust waits, and no thread of a server ever attaches to it.

mod buckets;
#[cfg(feature = "doors")]
mod doors;
mod errors;
mod handle;
mod link;
mod log_queue;
mod settings;

use std::ffi::OsString;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::handle::Handle;
use crate::link::{Inbox, Link};
use crate::log_queue::LogQueue;

/// Runs the `stonechat` command; `args` begins with its name. Returns the exit code.
#[pyfunction]
fn run_cli(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| stonechat_cli::run(args.into_iter()))
}

/// Runs the `stonechat-server` command; `args` begins with its name. Returns the exit code.
#[pyfunction]
fn run_server(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| stonechat_server::run(args))
}

/// Refuses to load in a subinterpreter. From Python 3.12 on, the interpreter itself refuses. Before that it would load
/// the module with objects of the main interpreter inside.
fn require_main_interpreter() -> PyResult<()> {
    // SAFETY: a module is initialised by a thread that is attached to an interpreter, which both calls ask for; they
    // read its number and change nothing.
    let interpreter = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match interpreter {
        MAIN_INTERPRETER => Ok(()),
        _ => Err(PyImportError::new_err("stonechat does not support loading in subinterpreters")),
    }
}

/// The number of the main interpreter.
const MAIN_INTERPRETER: i64 = 0;

/// The Rust side of the package; see `_stonechat.pyi`.
#[pymodule]
fn _stonechat(module: &Bound<'_, PyModule>) -> PyResult<()> {
    require_main_interpreter()?;
    module.add("__version__", stonechat_server::VERSION)?;
    module.add("NATS_VERSION", stonechat_server::COMPATIBLE_VERSION)?;
    module.add_class::<Handle>()?;
    module.add_class::<LogQueue>()?;
    module.add_class::<Link>()?;
    module.add_class::<Inbox>()?;
    buckets::add(module)?;
    #[cfg(feature = "doors")]
    module.add_function(wrap_pyfunction!(doors::plant, module)?)?;
    module.add_function(wrap_pyfunction!(run_cli, module)?)?;
    module.add_function(wrap_pyfunction!(run_server, module)?)
}
