//! A bucket: where its keys are read and written.

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

/// A bucket that is there.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// What the server says about its stream.
    pub(super) info: Value,
    /// Where its keys are.
    place: KeyPlace,
}

impl Bucket {
    /// Looks the bucket up.
    ///
    /// # Errors
    /// [`CliError::NoBucket`] if there is none.
    pub(super) async fn open(session: &mut Session, name: &str) -> Result<Self, CliError> {
        match session.ask(&format!("STREAM.INFO.{}", kv_stream(name)), None).await {
            Ok(info) => Ok(Self::new(session, name, info)),
            Err(CliError::Api { err_code: code::STREAM_NOT_FOUND, .. }) => {
                Err(CliError::NoBucket(name.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// A bucket whose stream the server has just described.
    pub(super) fn new(session: &Session, name: &str, info: Value) -> Self {
        let place = KeyPlace::of(name, &info["config"], session.foreign_prefix());
        Self { name: name.to_owned(), info, place }
    }

    /// The subject of a key's messages.
    pub(super) fn subject(&self, key: &str) -> String {
        self.place.subject(key)
    }

    /// How many values of each key it keeps.
    pub(super) fn history(&self) -> i64 {
        self.info["config"]["max_msgs_per_subject"].as_i64().unwrap_or_default()
    }

    /// The last entry of a key, or that of a revision; `None` if there is none.
    ///
    /// # Errors
    /// There is no answer, or it can't be read.
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
        // A revision can be another key's.
        Ok(found.filter(|entry| entry.key == key))
    }

    /// The value of a key, or of a revision.
    ///
    /// # Errors
    /// [`CliError::NoKey`] if there is none, also after a deletion.
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

    /// Writes a value if the last revision of the key is `revision`; 0 stands for "none".
    ///
    /// # Errors
    /// [`CliError::Api`] with the server's words if it is another one.
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
            // Something is there. A marker of a deletion may be replaced, if it is still the last one; a key that has gone since
            // begins anew. Each further turn means that somebody else has written meanwhile.
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

    /// Marks a key as deleted, or as deleted with its history; returns the revision of the marker.
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

    /// Delivers entries in order: those that are there, then new ones as they come.
    ///
    /// # Errors
    /// The server makes no consumer.
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

/// A write of a value, whatever is there.
const PUT: Write = Write { operation: Operation::Put, expected: None, ttl_ns: None };

/// What of a bucket is read.
pub(super) struct Reading<'a> {
    /// A key, or a filter of keys.
    pub(super) filter: &'a str,
    pub(super) from: DeliverPolicy,
    /// Without values.
    pub(super) is_headers_only: bool,
}

/// Entries in order.
pub(super) struct Reader {
    messages: Ordered,
    bucket: String,
    place: KeyPlace,
}

impl Reader {
    /// The next entry, when it comes.
    ///
    /// # Errors
    /// The connection or the consumer is gone for good.
    pub(super) async fn next(&mut self) -> Result<Entry, CliError> {
        let delivered = self.messages.next().await?;
        Ok(Entry::from_delivered(&self.bucket, &self.place, delivered))
    }

    /// The next one of the entries that were there at the beginning; `None` after the last.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(super) async fn next_stored(&mut self) -> Result<Option<Entry>, CliError> {
        let delivered = self.messages.next_stored().await?;
        Ok(delivered.map(|delivered| Entry::from_delivered(&self.bucket, &self.place, delivered)))
    }
}
