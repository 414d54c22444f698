//! A key-value bucket: reads and writes of its keys.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use serde_json::{Value, json};
use stonechat_buckets::names::kv_stream;
use stonechat_buckets::{KeyPlace, Operation, Write, code};

use super::entry::Entry;
use crate::error::CliError;
use crate::ordered::{self, Ordered};
use crate::session::Session;
use crate::values::api_nanoseconds;

/// An existing bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// The server's info about its stream.
    pub(super) info: Value,
    /// The subjects of its keys.
    place: KeyPlace,
}

impl Bucket {
    /// Looks up the bucket.
    ///
    /// # Errors
    /// [`CliError::NoBucket`] if it does not exist.
    pub(super) async fn open(session: &mut Session, name: &str) -> Result<Self, CliError> {
        match session.ask(&format!("STREAM.INFO.{}", kv_stream(name)), None).await {
            Ok(info) => Ok(Self::new(session, name, info)),
            Err(CliError::Api { err_code: code::STREAM_NOT_FOUND, .. }) => {
                Err(CliError::NoBucket(name.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a bucket from the server's info about its stream.
    pub(super) fn new(session: &Session, name: &str, info: Value) -> Self {
        let place = KeyPlace::of(name, &info["config"], session.foreign_prefix());
        Self { name: name.to_owned(), info, place }
    }

    /// Returns the subject of a key's messages.
    pub(super) fn subject(&self, key: &str) -> String {
        self.place.subject(key)
    }

    /// Returns how many values of each key the bucket keeps.
    pub(super) fn history(&self) -> i64 {
        self.info["config"]["max_msgs_per_subject"].as_i64().unwrap_or_default()
    }

    /// Returns the last entry of a key, or the entry of a revision; `None` if there is none.
    ///
    /// # Errors
    /// The server does not answer, or its answer can't be read.
    pub(super) async fn entry(
        &self,
        session: &mut Session,
        key: &str,
        revision: Option<u64>,
    ) -> Result<Option<Entry>, CliError> {
        let stream = kv_stream(&self.name);
        let subject = self.subject(key);
        let found = if self.place.is_direct {
            let message = match revision {
                None => session.ask_message(&format!("DIRECT.GET.{stream}.{subject}"), Bytes::new()).await?,
                Some(seq) => {
                    let body = json!({ "seq": seq }).to_string();
                    session.ask_message(&format!("DIRECT.GET.{stream}"), body.into()).await?
                }
            };
            Entry::from_direct(&self.name, &self.place, &message)?
        } else {
            let body =
                revision.map_or_else(|| json!({ "last_by_subj": subject }), |seq| json!({ "seq": seq }));
            match session.ask(&format!("STREAM.MSG.GET.{stream}"), Some(&body)).await {
                Ok(answer) => Some(Entry::from_stored(&self.name, &self.place, &answer)?),
                Err(CliError::Api { err_code: code::NO_MESSAGE, .. }) => None,
                Err(error) => return Err(error),
            }
        };
        // The revision may belong to another key.
        Ok(found.filter(|entry| entry.key == key))
    }

    /// Returns the value of a key, at its last or at another revision.
    ///
    /// # Errors
    /// [`CliError::NoKey`] if there is no value, or it was deleted.
    pub(super) async fn value(
        &self,
        session: &mut Session,
        key: &str,
        revision: Option<u64>,
    ) -> Result<Entry, CliError> {
        let entry = self.entry(session, key, revision).await?;
        let none = || CliError::NoKey { bucket: self.name.clone(), key: key.to_owned() };
        entry.filter(|entry| entry.operation == Operation::Put).ok_or_else(none)
    }

    /// Writes a value and returns its revision.
    pub(super) async fn put(&self, session: &mut Session, key: &str, value: Bytes) -> Result<u64, CliError> {
        self.write(session, key, PUT, value).await
    }

    /// Writes a value if the last revision of the key is `revision`; 0 means that the key has none.
    ///
    /// # Errors
    /// [`CliError::Api`] with the server's text if the last revision is another one.
    pub(super) async fn put_after(
        &self,
        session: &mut Session,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, CliError> {
        let write = Write { expected: Some(revision), ttl_ns: ttl.map(api_nanoseconds), ..PUT };
        self.write(session, key, write, value).await
    }

    /// Writes a value if the key has none, or was deleted.
    ///
    /// # Errors
    /// The key has a value.
    pub(super) async fn create(
        &self,
        session: &mut Session,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, CliError> {
        let mut expected = 0;
        loop {
            match self.put_after(session, key, value.clone(), expected, ttl).await {
                Err(CliError::Api { err_code: code::WRONG_LAST_SEQUENCE, .. }) => {}
                result => return result,
            }
            // The key has a message. If that is the marker of a deletion, replace it, expecting its revision; if the message is
            // gone meanwhile, start over. Each further iteration means that another client has written to the key.
            expected = match self.entry(session, key, None).await? {
                Some(entry) if entry.operation == Operation::Put => {
                    let text =
                        format!("key {key:?} exists in bucket {} at revision {}", self.name, entry.revision);
                    return Err(CliError::Client(text));
                }
                Some(entry) => entry.revision,
                None => 0,
            };
        }
    }

    /// Writes a marker that the key is deleted or purged; returns the marker's revision.
    pub(super) async fn delete(
        &self,
        session: &mut Session,
        key: &str,
        operation: Operation,
        ttl: Option<Duration>,
    ) -> Result<u64, CliError> {
        let write = Write { operation, expected: None, ttl_ns: ttl.map(api_nanoseconds) };
        self.write(session, key, write, Bytes::new()).await
    }

    async fn write(
        &self,
        session: &mut Session,
        key: &str,
        write: Write,
        value: Bytes,
    ) -> Result<u64, CliError> {
        if let Some(max) = self.place.max_value_size.filter(|max| value.len() as u64 > *max) {
            return Err(CliError::Client(format!(
                "{} bytes for key {key:?} are more than bucket {} takes: its values have {max} bytes at most",
                value.len(),
                self.name
            )));
        }
        let mut headers = HeaderMap::new();
        for (name, text) in write.headers() {
            headers.insert(name, text);
        }
        let headers = Some(headers).filter(|headers| !headers.is_empty());
        let answer = session.store(format!("{}{key}", self.place.put_prefix), headers, value).await?;
        Ok(answer["seq"].as_u64().unwrap_or_default())
    }

    /// Opens a reader of entries in order: first the stored ones, then new ones as they arrive.
    ///
    /// # Errors
    /// The server refuses to create the consumer.
    pub(super) async fn read(&self, session: &Session, what: Reading<'_>) -> Result<Reader, CliError> {
        let reading = ordered::Reading {
            reader: "stonechat kv",
            filter: self.subject(what.filter),
            from: what.from,
            is_headers_only: what.is_headers_only,
        };
        let messages = Ordered::open(session, &kv_stream(&self.name), reading).await?;
        Ok(Reader { messages, bucket: self.name.clone(), place: self.place.clone() })
    }
}

/// A write of a value without an expected revision.
const PUT: Write = Write { operation: Operation::Put, expected: None, ttl_ns: None };

/// A selection of a bucket's entries.
pub(super) struct Reading<'a> {
    /// A key, or a filter of keys.
    pub(super) filter: &'a str,
    pub(super) from: DeliverPolicy,
    /// Whether values are omitted.
    pub(super) is_headers_only: bool,
}

/// A reader of entries in order.
pub(super) struct Reader {
    messages: Ordered,
    bucket: String,
    place: KeyPlace,
}

impl Reader {
    /// Waits for the next entry.
    ///
    /// # Errors
    /// The connection or the consumer is lost for good.
    pub(super) async fn next(&mut self) -> Result<Entry, CliError> {
        let delivered = self.messages.next().await?;
        Ok(Entry::from_delivered(&self.bucket, &self.place, delivered))
    }

    /// Returns the next of the entries that were stored when the reader was opened; `None` after the last.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(super) async fn next_stored(&mut self) -> Result<Option<Entry>, CliError> {
        let delivered = self.messages.next_stored().await?;
        Ok(delivered.map(|delivered| Entry::from_delivered(&self.bucket, &self.place, delivered)))
    }
}
