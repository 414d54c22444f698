//! Conversion of Rust's errors to the exceptions of `stonechat.errors`.

use std::io;

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use stonechat_client::ClientError;
use stonechat_config::ConfigErrors;
use stonechat_config::lang::{ParseError, Position};
use stonechat_server::{ReloadError, StartError};

/// Returns the exception for a refused configuration.
pub(crate) fn config(py: Python<'_>, error: &ConfigErrors) -> PyErr {
    let position = error.errors.iter().find_map(|issue| issue.position.as_ref());
    config_at(py, error.to_string(), position)
}

/// Returns the exception for a configuration that could not be parsed.
pub(crate) fn parse(py: Python<'_>, error: &ParseError) -> PyErr {
    config_at(py, error.to_string(), error.position.as_ref())
}

fn config_at(py: Python<'_>, message: String, position: Option<&Position>) -> PyErr {
    let file = position.map(|position| position.file.to_string());
    let (line, column) = position.map(|position| (position.line, position.column)).unzip();
    exception(py, "ConfigError", (message, file, line, column))
}

/// Returns the exception for a configuration file that does not exist.
pub(crate) fn config_file_not_found(py: Python<'_>, path: &str) -> PyErr {
    exception(py, "ConfigFileNotFoundError", (format!("configuration file not found: {path}"), path))
}

/// Returns the exception for a server that did not start.
pub(crate) fn start(py: Python<'_>, error: &StartError) -> PyErr {
    match error {
        StartError::Listen { addr, source } => {
            let in_use = source.kind() == io::ErrorKind::AddrInUse;
            let name = if in_use { "PortInUseError" } else { "ListenError" };
            let (host, port) = addr.rsplit_once(':').unwrap_or((addr, "0"));
            let fields = (error.to_string(), source.raw_os_error(), host, port.parse::<u16>().unwrap_or(0));
            exception(py, name, fields)
        }
        StartError::Config(errors) => config(py, errors),
        StartError::Invalid(_) | StartError::Tls(_) => exception(py, "ConfigError", (error.to_string(),)),
        StartError::Unsupported(_) => exception(py, "NotSupportedError", (error.to_string(),)),
        _ => exception(py, "ServerError", (error.to_string(),)),
    }
}

/// Returns the exception for a failed reload; the server keeps its old configuration.
pub(crate) fn reload(py: Python<'_>, error: &ReloadError) -> PyErr {
    exception(py, "ReloadError", (error.to_string(),))
}

/// Returns the exception for a reload that would reset an option to the file's value.
pub(crate) fn lost_by_reload(py: Python<'_>, option: &str) -> PyErr {
    let message = format!(
        "a server that was given {option} as an option can't be reloaded: only host, port, monitor_port, server_name, \
         user, password, token, debug and trace win over a reloaded file; put {option} into the file"
    );
    exception(py, "ReloadError", (message,))
}

/// Returns the exception for a name or an option that breaks a rule; nothing was sent.
pub(crate) fn rule(py: Python<'_>, text: &str) -> PyErr {
    exception(py, "RuleError", (text,))
}

/// Returns the exception for a failed client without a socket.
pub(crate) fn link(py: Python<'_>, error: &ClientError) -> PyErr {
    match error {
        ClientError::Refused(_) | ClientError::Late(_) => exception(py, "ConnectError", (error.to_string(),)),
        ClientError::Closed => closed(py),
        ClientError::Full => exception(py, "ServerError", (error.to_string(),)),
    }
}

/// Returns the exception for a closed connection. Such a connection closes only when the server ends.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    exception(py, "NotRunningError", ("the server has closed the connection: it is not running any more",))
}

/// Returns the exception for an operation that the user's permissions forbid; the text is the server's.
pub(crate) fn not_allowed(py: Python<'_>, text: &str) -> PyErr {
    exception(py, "NotAllowedError", (text,))
}

/// Returns the exception for a forked child that uses an object of its parent.
pub(crate) fn wrong_process(py: Python<'_>, pid: u32) -> PyErr {
    let message = format!("this connection belongs to process {pid}, not to its forked child");
    exception(py, "WrongProcessError", (message,))
}

/// Creates an exception of `stonechat.errors`. The import only fails if the installation is broken.
fn exception<'py>(py: Python<'py>, name: &str, args: impl PyCallArgs<'py>) -> PyErr {
    let built = py
        .import("stonechat.errors")
        .and_then(|module| module.getattr(name))
        .and_then(|class| class.call1(args));
    match built {
        Ok(error) => PyErr::from_value(error),
        Err(error) => {
            let wrapped = PyRuntimeError::new_err(format!("stonechat.errors.{name} is missing"));
            wrapped.set_cause(py, Some(error));
            wrapped
        }
    }
}
