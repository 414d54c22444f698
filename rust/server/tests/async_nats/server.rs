//! The server binary, started for one test on a free port. As in other suites, the ports file has the port.

use crate::PATIENCE;
use async_nats::Client;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// A running server with its own directory. Dropping it kills the server.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server with this configuration on a free port.
    pub(crate) fn start(config: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("stonechat-async-nats-{}-{number}", process::id()));
        fs::create_dir_all(&directory).expect("a scratch directory");
        fs::write(directory.join("server.conf"), config).expect("the configuration is written");
        let child = Self::spawn(&directory, -1);
        let mut server = Self { child, directory, port: 0 };
        server.port = server.wait_for_port();
        server
    }

    fn spawn(directory: &Path, port: i32) -> Child {
        Command::new(env!("CARGO_BIN_EXE_stonechat-server"))
            .current_dir(directory)
            .args(["-c", "server.conf", "-a", "127.0.0.1", "--ports_file_dir", "."])
            .args(["-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts")
    }

    fn wait_for_port(&mut self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        let suffix = format!("_{}.ports", self.child.id());
        while Instant::now() < deadline {
            assert!(self.child.try_wait().expect("the child is ours").is_none(), "the server ended");
            let files = fs::read_dir(&self.directory).expect("the directory is there");
            for file in files.flatten().filter(|file| file.file_name().to_string_lossy().ends_with(&suffix)) {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                // `{"nats":["nats://127.0.0.1:4222"], ..}`; a file that is still being written has no closing brace.
                if let Some((_, rest)) =
                    text.split_once("nats://127.0.0.1:").filter(|_| text.trim_end().ends_with('}'))
                {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    return digits.parse().expect("a port number");
                }
            }
            thread::sleep(Duration::from_millis(3));
        }
        panic!("no ports file");
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server, like a crash.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Starts the server again on the same port.
    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(&self.directory, i32::from(self.port));
        assert_eq!(self.wait_for_port(), self.port);
    }

    /// Sends a signal through the server's own command line.
    pub(crate) fn signal(&self, word: &str) {
        let status = Command::new(env!("CARGO_BIN_EXE_stonechat-server"))
            .args(["--signal", &format!("{word}={}", self.child.id())])
            .status()
            .expect("the command runs");
        assert!(status.success());
    }

    pub(crate) async fn connect(&self) -> Client {
        async_nats::connect(self.url()).await.expect("a connection")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
