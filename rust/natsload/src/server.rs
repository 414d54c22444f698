//! Starts one server under test on its own port and directory, and stops it.

use crate::wire;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Spec {
    pub(crate) fn version(&self) -> String {
        let out = Command::new(&self.path).arg("--version").output();
        let text = out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
        text.lines().next().unwrap_or("").to_string()
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Js {
    Off,
    On,
    SyncAlways,
}

#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) js: Js,
    /// JetStream's `sync_interval`, unless the scenario sets its own; `None` keeps each server's default.
    pub(crate) sync_interval: Option<String>,
    pub(crate) tls: bool,
    pub(crate) pin: bool,
}

pub(crate) struct Server {
    spec: Spec,
    dir: PathBuf,
    setup: Setup,
    child: Option<Child>,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(spec: &Spec, dir: &Path, setup: Setup) -> Result<Server> {
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir)?;
        // The listener picks a free port and is closed before the server takes it.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut conf = format!(
            "server_name: \"under_test\"\nhost: \"127.0.0.1\"\nport: {}\nping_interval: \"5m\"\n",
            addr.port()
        );
        conf += "max_connections: 64K\n";
        if setup.js != Js::Off {
            let interval =
                if setup.js == Js::SyncAlways { Some("always") } else { setup.sync_interval.as_deref() };
            // In quotes: a bare 2m is two million seconds.
            let sync = interval.map_or(String::new(), |i| format!("  sync_interval: \"{i}\"\n"));
            let store = dir.join("store");
            conf += &format!(
                "jetstream {{\n  store_dir: \"{}\"\n  max_mem: 8GB\n  max_file: 40GB\n{sync}  \
                 limits {{ default_max_consumers: -1 }}\n}}\n",
                store.display()
            );
        }
        if setup.tls {
            conf += &tls_block(dir)?;
        }
        fs::write(dir.join("server.conf"), conf)?;
        let mut s = Server { spec: spec.clone(), dir: dir.into(), setup, child: None, addr };
        s.launch(Duration::from_secs(20))?;
        Ok(s)
    }

    /// Starts the server, and waits until a client can connect; returns the time that this took.
    pub(crate) fn launch(&mut self, limit: Duration) -> Result<Duration> {
        let log = File::create(self.dir.join("server.log"))?;
        let pin = self.setup.pin;
        let mut cmd = Command::new(&self.spec.path);
        cmd.arg("--config").arg(self.dir.join("server.conf"));
        cmd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: prctl and sched_setaffinity are async-signal-safe.
        unsafe {
            cmd.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if pin {
                    crate::proc::pin(0);
                }
                Ok(())
            });
        }
        let begin = Instant::now();
        self.child = Some(cmd.spawn().with_context(|| format!("starting server '{}'", self.spec.name))?);
        loop {
            let tried = if self.setup.tls { wire::dial(self.addr) } else { wire::connect(self.addr) };
            let Err(why) = tried else { return Ok(begin.elapsed()) };
            if let Some(status) = self.child.as_mut().unwrap().try_wait()? {
                self.child = None;
                bail!("server '{}' ended at start ({status}):\n{}", self.spec.name, self.log_tail());
            }
            if begin.elapsed() > limit {
                bail!(
                    "server '{}' not ready after {limit:?} ({why:#}):\n{}",
                    self.spec.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, |c| c.id())
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    pub(crate) fn store_bytes(&self) -> u64 {
        fn walk(p: &Path) -> u64 {
            let items = fs::read_dir(p).into_iter().flatten().flatten();
            items
                .map(
                    |e| if e.path().is_dir() { walk(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) },
                )
                .sum()
        }
        walk(&self.dir.join("store"))
    }

    /// Stops the server: with SIGTERM, and SIGKILL after 60 s, or at once with SIGKILL.
    pub(crate) fn stop(&mut self, gently: bool) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if gently {
            // SAFETY: the pid is our own child's, which has not been waited for.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(60) {
                if child.try_wait()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop(false);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn tls_block(dir: &Path) -> Result<String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])?;
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    fs::write(dir.join("cert.der"), made.cert.der())?;
    Ok(format!(
        "tls {{\n  cert_file: \"{}\"\n  key_file: \"{}\"\n  timeout: 5\n}}\n",
        cert.display(),
        key.display()
    ))
}

pub(crate) type TlsStream = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

impl Server {
    pub(crate) fn connect_tls(&self) -> Result<TlsStream> {
        use std::io::{Read, Write};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(fs::read(self.dir.join("cert.der"))?.into())?;
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let mut tcp = wire::dial(self.addr)?;
        let mut info = [0u8; 1];
        while info[0] != b'\n' {
            tcp.read_exact(&mut info).context("reading INFO")?;
        }
        let client = rustls::ClientConnection::new(std::sync::Arc::new(config), "localhost".try_into()?)?;
        let mut s = TlsStream::new(client, tcp);
        s.write_all(wire::HELLO)?;
        wire::wait_pong(&mut s)?;
        Ok(s)
    }
}
