//! Entries of key-value buckets: the operation of a message, and the headers of a write.

use std::fmt;

use crate::header;

/// An operation on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A value was written.
    Put,
    /// The key was deleted; its history stays.
    Delete,
    /// The key was deleted with its history.
    Purge,
}

impl Operation {
    /// Derives the operation from the headers `KV-Operation` and `Nats-Marker-Reason`. A marker of the server counts as a purge,
    /// or as a deletion if a client removed the message.
    pub fn of(operation: Option<&str>, marker_reason: Option<&str>) -> Self {
        match (operation, marker_reason) {
            (Some("DEL"), _) | (None, Some("Remove")) => Self::Delete,
            (Some("PURGE"), _) | (None, Some("MaxAge" | "Purge")) => Self::Purge,
            _ => Self::Put,
        }
    }

    /// The name of the operation, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Purge => "PURGE",
        })
    }
}

/// The last value of a header in a block of headers. The server appends its own headers to those of a stored message, so the last
/// value is never a client's.
pub fn last_header<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    let lines = block.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| *found == name).last().map(|(_, value)| value.trim())
}

/// A write: its operation and its condition.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// The operation on the key.
    pub operation: Operation,
    /// The revision that the key has to be at; 0 stands for "no value".
    pub expected: Option<u64>,
    /// The message's own time to live, in nanoseconds.
    pub ttl_ns: Option<u64>,
}

impl Write {
    /// The headers of the message.
    pub fn headers(self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        match self.operation {
            Operation::Put => {}
            Operation::Delete => headers.push((header::OPERATION, "DEL".to_owned())),
            Operation::Purge => {
                headers.push((header::OPERATION, "PURGE".to_owned()));
                headers.push((header::ROLLUP, "sub".to_owned()));
            }
        }
        headers.extend(self.expected.map(|revision| (header::EXPECTED_REVISION, revision.to_string())));
        // The server counts in whole seconds, and refuses less than one.
        headers.extend(self.ttl_ns.map(|ttl| (header::TTL, format!("{}s", ttl.div_ceil(1_000_000_000)))));
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations() {
        let of = |block: &str| {
            Operation::of(last_header(block, header::OPERATION), last_header(block, header::MARKER_REASON))
        };
        assert_eq!(of(""), Operation::Put);
        assert_eq!(of("NATS/1.0\r\nOther: x\r\n\r\n"), Operation::Put);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"), Operation::Delete);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"), Operation::Purge);
        assert_eq!(of("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"), Operation::Purge);
        assert_eq!(of("NATS/1.0\r\nNats-Marker-Reason: Remove\r\n\r\n"), Operation::Delete);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: x\r\nNats-Marker-Reason: MaxAge\r\n\r\n"), Operation::Put);
    }

    #[test]
    fn headers_of_the_server_win() {
        let block = "NATS/1.0\r\nNats-Sequence: 1\r\nno colon\r\nNats-Sequence: 7\r\n\r\n";
        assert_eq!(last_header(block, header::SEQUENCE), Some("7"));
        assert_eq!(last_header(block, "NATS/1.0"), None);
    }

    #[test]
    fn headers_of_writes() {
        let write = Write { operation: Operation::Purge, expected: Some(7), ttl_ns: Some(1_000_000_001) };
        let headers: Vec<String> =
            write.headers().iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            headers,
            [
                "KV-Operation: PURGE",
                "Nats-Rollup: sub",
                "Nats-Expected-Last-Subject-Sequence: 7",
                "Nats-TTL: 2s"
            ]
        );
        assert!(Write { operation: Operation::Put, expected: None, ttl_ns: None }.headers().is_empty());
    }
}
