//! Tests of the command in its own process. They start this test program again, because it has triggers for faults that
//! no release build has.

use super::run;
use crate::fault::tests::{PATIENCE, Peer, get_from, plant};
use crate::server::Server;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// The environment variable with the arguments of the command, one a line.
const ARGS: &str = "STONECHAT_TEST_ARGS";
/// The environment variable that delays the opening of the store until standard input has ended.
const HOLD: &str = "STONECHAT_TEST_HOLD";

/// Runs the command in the process that the tests start.
#[test]
#[ignore = "a process that other tests start"]
fn command_process() {
    let Ok(args) = std::env::var(ARGS) else { return };
    std::process::exit(run(args.lines().map(OsString::from)));
}

/// Plants the fault of the tests: a message on `boom` panics in the thread that delivers it.
pub(super) fn started(server: &Server) {
    if std::env::var_os(ARGS).is_some() {
        plant(server, true, false);
    }
}

/// Waits before the store is opened, if `HOLD` is set.
pub(crate) fn opening() {
    if std::env::var_os(HOLD).is_some() {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    }
}

/// A process that is killed when it is dropped.
struct Process {
    child: Child,
    log: Receiver<String>,
    /// The log lines read so far.
    logged: Vec<String>,
}

impl Process {
    /// Starts the command with JetStream and with its log on standard error.
    fn start(store: &tempfile::TempDir, holds: bool) -> Self {
        let store = store.path().display().to_string();
        let args = ["stonechat-server", "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-js", "-sd", &store];
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "command::tests::command_process", "--ignored", "--nocapture"]);
        command.env(ARGS, args.join("\n")).env_remove(HOLD);
        if holds {
            command.env(HOLD, "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (sender, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log, logged: Vec::new() }
    }

    /// Reads the log until a line with `text`; returns the rest of the line after it.
    fn until(&mut self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.logged));
            self.logged.push(line.clone());
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    }

    fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    /// Waits for the process to end; returns the exit code and the log lines.
    fn wait(mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + PATIENCE;
        // The log ends with the process.
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.logged.push(line);
        }
        assert!(Instant::now() < deadline, "it goes on: {:?}", self.logged);
        let status = self.child.wait().expect("it has ended");
        (status.code(), std::mem::take(&mut self.logged))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_panic_in_jetstream_ends_the_process_with_an_error() {
    let store = tempfile::tempdir().expect("a directory");
    let mut process = Process::start(&store, false);
    let address = process.until("Listening for client connections on ");
    process.until("Server is ready");
    let mut publisher = Peer::connect_to(&address);
    let stream = r#"{"name":"s","subjects":["s"]}"#;
    publisher.says(&format!("SUB r 1\r\nPUB $JS.API.STREAM.CREATE.s r {}\r\n{stream}\r\n", stream.len()));
    publisher.until("stream_create_response");
    publisher.says("PUB s r 0\r\n\r\n");
    publisher.until("\"seq\":1");
    publisher.says("PUB s boom 0\r\n\r\n");
    let (code, log) = process.wait();
    assert_eq!(code, Some(1), "{log:?}");
    let is_told = |line: &String| line.contains("[FTL] Internal error, the server ends: JetStream panicked");
    assert!(log.iter().any(is_told), "{log:?}");
    assert!(publisher.is_closed());

    // Acknowledged messages survive.
    let mut process = Process::start(&store, false);
    let address = process.until("Listening for client connections on ");
    process.until("Server is ready");
    let mut reader = Peer::connect_to(&address);
    reader.says("SUB r 1\r\nPUB $JS.API.STREAM.MSG.GET.s r 9\r\n{\"seq\":1}\r\n");
    reader.until("\"subject\":\"s\"");
}

#[cfg(unix)]
#[test]
fn the_server_is_unhealthy_until_jetstream_is_up() {
    let store = tempfile::tempdir().expect("a directory");
    let mut process = Process::start(&store, true);
    let hold = process.stdin();
    let monitor = process.until("Starting http monitor on ");
    let (status, body) = get_from(&monitor, "/healthz");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("JetStream not enabled (10076)"), "{body}");
    assert_eq!(get_from(&monitor, "/healthz?js-enabled-only=true").0, 503);
    assert_eq!(get_from(&monitor, "/healthz?js-server-only=true").0, 200);
    drop(hold);
    process.until("Server is ready");
    for path in ["/healthz", "/healthz?js-enabled-only=true"] {
        let (status, body) = get_from(&monitor, path);
        assert_eq!((status, body.contains("ok")), (200, true), "{path} {body}");
    }
    let pid = i32::try_from(process.child.id()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::TERM).expect("it runs");
    let (code, log) = process.wait();
    assert_eq!(code, Some(0), "{log:?}");
}
