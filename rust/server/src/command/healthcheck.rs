//! `stonechat-server healthcheck`: queries a running server over its monitoring port, since a container without a shell
//! has no other means.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_MAX: u64 = 64 << 10;

/// Requests `url`; returns exit code 0 if the response is 200.
pub(super) fn ask(url: &str) -> i32 {
    match fetch(url) {
        Ok(answer) if answer.split_ascii_whitespace().nth(1) == Some("200") => 0,
        Ok(answer) => {
            super::console::err(format_args!(
                "stonechat-server: unhealthy: {}",
                answer.lines().last().unwrap_or_default()
            ));
            1
        }
        Err(error) => {
            super::console::err(format_args!("stonechat-server: {url}: {error}"));
            1
        }
    }
}

/// Sends one request on its own connection; returns the whole response.
fn fetch(url: &str) -> std::io::Result<String> {
    let invalid = |text: &str| std::io::Error::new(std::io::ErrorKind::InvalidInput, text.to_string());
    let rest = url.strip_prefix("http://").ok_or_else(|| invalid("the URL must begin with http://"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, "healthz"));
    let addrs =
        if host.contains(':') { host.to_socket_addrs()? } else { format!("{host}:80").to_socket_addrs()? };
    let mut last = invalid("the host has no address");
    for addr in addrs {
        let mut stream = match TcpStream::connect_timeout(&addr, TIMEOUT) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
        return Ok(answer);
    }
    Err(last)
}
