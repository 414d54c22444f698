//! The plan of a measurement: the operation of each client, and the stream, consumer or bucket that it requires.

use std::path::Path;
use std::time::Duration;

use async_nats::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::args::{
    Acks, BenchArgs, BenchCommand, DurableArgs, JsArgs, JsCommand, JsGetCommand, JsPubCommand, KvArgs,
    KvCommand, MessageArgs, PaceArgs, PlaceArgs, ReadArgs, ServiceCommand, StoreArgs, SubjectArgs,
};
use super::message::{Messages, Numbers, Subjects, filler};
use super::pull::Pull;
use super::work::{Answer, Operation};
use crate::connection::client_error;
use crate::error::CliError;
use crate::session::{JetStreamArgs, Session};
use crate::values::api_nanoseconds;

/// Maximum messages in an atomic batch, as servers limit it.
const ATOMIC_MAX: u64 = 1000;
/// Inactive threshold of the consumers that are made for one run.
const INACTIVE: Duration = Duration::from_secs(30);

/// A measurement.
#[derive(Debug)]
pub(super) struct Plan {
    /// The kind of the clients, for the report.
    pub(super) title: &'static str,
    /// The operation whose time the latencies measure, for the report.
    pub(super) timed: &'static str,
    pub(super) operation: Operation,
    /// Messages of all clients together.
    pub(super) messages: u64,
    /// Whether the messages are divided among the clients; otherwise each client processes all of them.
    pub(super) is_split: bool,
    /// Messages a second of all clients together.
    pub(super) rate: Option<f64>,
}

impl Plan {
    fn new(args: &BenchArgs, title: &'static str, timed: &'static str, operation: Operation) -> Self {
        Self { title, timed, operation, messages: args.common.msgs, is_split: true, rate: None }
    }

    fn with_pace(mut self, pace: PaceArgs) -> Self {
        self.rate = pace.throughput.map(|rate| rate as f64);
        if let (Some(rate), Some(duration)) = (self.rate, pace.duration) {
            self.messages = ((rate * duration.as_secs_f64()).round() as u64).max(1);
        }
        self
    }

    /// Lets each client process all messages.
    fn whole(self) -> Self {
        Self { is_split: false, ..self }
    }
}

/// Plans a measurement, and creates on the server what it requires.
///
/// # Errors
/// The flags do not fit each other, or the server refuses a request.
pub(super) async fn plan(
    args: &BenchArgs,
    jetstream: &JetStreamArgs,
    run_id: &str,
) -> Result<Plan, CliError> {
    let size = args.common.size;
    match &args.command {
        BenchCommand::Pub { subject, subjects, message, pace } => {
            let messages = messages(message, subjects_of(subject, *subjects), size)?;
            let operation = Operation::Publish(messages);
            Ok(Plan::new(args, "core publisher", "a write of up to 64 KiB", operation).with_pace(*pace))
        }
        BenchCommand::Sub { subject, multisubject } => {
            let subject = if *multisubject { format!("{subject}.*") } else { subject.clone() };
            Ok(Plan::new(args, "core subscriber", "", Operation::Subscribe(subject)).whole())
        }
        BenchCommand::Service(ServiceCommand::Request { subject, message, pace }) => {
            let messages = messages(message, one(subject.clone()), size)?;
            let operation = Operation::Exchange { messages, batch: 1, answer: Answer::Any };
            Ok(Plan::new(args, "service requester", "a request", operation).with_pace(*pace))
        }
        BenchCommand::Service(ServiceCommand::Serve { subject }) => {
            let operation = Operation::Serve { subject: subject.clone(), body: filler(size) };
            Ok(Plan { messages: 0, ..Plan::new(args, "service server", "", operation).whole() })
        }
        BenchCommand::Js(js) => {
            let mut session = Session::open(jetstream).await?;
            stream(args, js, &mut session, run_id).await
        }
        BenchCommand::Kv(kv) => {
            let mut session = Session::open(jetstream).await?;
            bucket(args, kv, &mut session).await
        }
    }
}

fn one(subject: String) -> Subjects {
    Subjects { prefix: subject, numbers: None }
}

fn subjects_of(subject: &str, subjects: SubjectArgs) -> Subjects {
    match subjects.multisubject {
        false => one(subject.to_owned()),
        true => Subjects {
            prefix: format!("{subject}."),
            numbers: Some(Numbers { max: subjects.max, is_random: subjects.is_random }),
        },
    }
}

fn messages(args: &MessageArgs, subjects: Subjects, size: usize) -> Result<Messages, CliError> {
    let body = match &args.payload {
        Some(file) => read(file)?,
        None => filler(size),
    };
    let line = |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {value}\r\n");
    let headers: String = args.headers.iter().map(line).collect();
    Ok(Messages { subjects, headers: headers.into_bytes(), body, id: None })
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| CliError::File { path: file.to_owned(), reason: error.to_string() })
}

async fn stream(
    args: &BenchArgs,
    js: &JsArgs,
    session: &mut Session,
    run_id: &str,
) -> Result<Plan, CliError> {
    match &js.command {
        JsCommand::Pub(command) => publisher(args, js, command, session, run_id).await,
        JsCommand::Get(command) => getter(args, js, command, session).await,
        JsCommand::Ordered { read } => {
            let info = existing(session, &js.stream).await?;
            prepare_read(session, &js.stream, read, &info, args.common.msgs).await?;
            let mut subjects = Vec::new();
            for _ in 0..args.common.clients {
                let config = consumer_config(
                    read,
                    Acks::None,
                    json!({
                        "inactive_threshold": api_nanoseconds(INACTIVE),
                        "mem_storage": true,
                        "num_replicas": 1,
                    }),
                );
                let body = json!({ "stream_name": js.stream, "config": config });
                let made = session.ask(&format!("CONSUMER.CREATE.{}", js.stream), Some(&body)).await?;
                subjects.push(next_subject(session, &js.stream, made["name"].as_str().unwrap_or_default()));
            }
            let pull = pull(read, subjects, Acks::None, true);
            Ok(Plan::new(args, "ordered consumer", "", Operation::Pull(Pull { is_ordered: true, ..pull }))
                .whole())
        }
        JsCommand::Consume { read, durable } => {
            let subjects = durable_consumer(args, js, read, durable, session).await?;
            let pull = Pull { is_double: durable.double_ack, ..pull(read, subjects, durable.acks, true) };
            Ok(Plan::new(args, "durable consumer", "", Operation::Pull(pull)))
        }
        JsCommand::Fetch { read, durable } => {
            let subjects = durable_consumer(args, js, read, durable, session).await?;
            let pull = Pull { is_double: durable.double_ack, ..pull(read, subjects, durable.acks, false) };
            Ok(Plan::new(args, "durable consumer that fetches", "a batch", Operation::Pull(pull)))
        }
    }
}

fn pull(read: &ReadArgs, subjects: Vec<String>, acks: Acks, is_eager: bool) -> Pull {
    Pull {
        subjects,
        batch: read.batch.batch,
        is_eager,
        acks,
        is_double: false,
        is_ordered: false,
        is_patient: read.purge,
    }
}

fn next_subject(session: &Session, stream: &str, consumer: &str) -> String {
    session.subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"))
}

async fn publisher(
    args: &BenchArgs,
    js: &JsArgs,
    command: &JsPubCommand,
    session: &mut Session,
    run_id: &str,
) -> Result<Plan, CliError> {
    let (store, batch) = match command {
        JsPubCommand::Sync(store) => (store, 1),
        JsPubCommand::Async { store, batch } | JsPubCommand::Batch { store, batch } => (store, batch.batch),
    };
    if let (JsPubCommand::Batch { .. }, ATOMIC_MAX..) = (command, batch.saturating_sub(1)) {
        return Err(CliError::Client(format!("an atomic batch has {ATOMIC_MAX} messages at most")));
    }
    prepare_store(session, &js.stream, store).await?;
    let mut messages =
        messages(&store.message, subjects_of(&store.subject, store.subjects), args.common.size)?;
    messages.id = store.dedup.then(|| format!("{run_id}-"));
    let (title, timed, operation) = match command {
        JsPubCommand::Sync(_) => (
            "synchronous stream publisher",
            "a message and its answer",
            Operation::Exchange { messages, batch, answer: Answer::Stored },
        ),
        JsPubCommand::Async { .. } => (
            "asynchronous stream publisher",
            "a batch and its answers",
            Operation::Exchange { messages, batch, answer: Answer::Stored },
        ),
        JsPubCommand::Batch { .. } => (
            "stream publisher of atomic batches",
            "a batch",
            Operation::Atomic { messages, batch, id: format!("{run_id}-") },
        ),
    };
    Ok(Plan::new(args, title, timed, operation).with_pace(store.pace))
}

/// Creates the stream of a publisher, or checks that it exists.
async fn prepare_store(session: &mut Session, stream: &str, store: &StoreArgs) -> Result<(), CliError> {
    if store.create {
        let subject = match store.subjects.multisubject {
            true => format!("{}.*", store.subject),
            false => store.subject.clone(),
        };
        let mut config = json!({
            "name": stream,
            "subjects": [subject],
            "retention": "limits",
            "discard": "new",
            "storage": store.place.storage.as_api(),
            "num_replicas": store.place.replicas,
            "max_bytes": store.place.max_bytes,
            "duplicate_window": api_nanoseconds(store.dedup_window),
            "allow_direct": true,
            "allow_atomic": true,
        });
        if store.persist_async {
            config["persist_mode"] = json!("async");
            // Servers refuse a stream that allows both atomic batches and asynchronous persistence.
            config["allow_atomic"] = json!(false);
        }
        create_or_update(session, stream, &config).await?;
    } else {
        existing(session, stream).await?;
    }
    if store.place.purge { purge(session, stream).await } else { Ok(()) }
}

/// Creates a stream, or updates an existing one to this configuration.
async fn create_or_update(session: &mut Session, stream: &str, config: &Value) -> Result<(), CliError> {
    match session.ask(&format!("STREAM.CREATE.{stream}"), Some(config)).await {
        // The name is in use with another configuration.
        Err(CliError::Api { err_code: 10058, .. }) => {
            session.ask(&format!("STREAM.UPDATE.{stream}"), Some(config)).await.map(drop)
        }
        other => other.map(drop),
    }
}

async fn purge(session: &mut Session, stream: &str) -> Result<(), CliError> {
    session.ask(&format!("STREAM.PURGE.{stream}"), None).await.map(drop)
}

/// Returns the info of a stream that must exist.
async fn existing(session: &mut Session, stream: &str) -> Result<Value, CliError> {
    match session.ask(&format!("STREAM.INFO.{stream}"), None).await {
        Err(CliError::Api { err_code: 10059, .. }) => Err(CliError::Client(format!(
            "stream {stream} not found; \"stonechat bench js pub async SUBJECT --create\" creates and fills it"
        ))),
        other => other,
    }
}

/// Purges a stream if the flags say so; otherwise checks that it holds enough messages.
async fn prepare_read(
    session: &mut Session,
    stream: &str,
    read: &ReadArgs,
    info: &Value,
    wanted: u64,
) -> Result<(), CliError> {
    if read.purge {
        return purge(session, stream).await;
    }
    has_enough(stream, info, wanted)
}

fn has_enough(stream: &str, info: &Value, wanted: u64) -> Result<(), CliError> {
    let messages = info["state"]["messages"].as_u64().unwrap_or_default();
    match messages < wanted {
        true => Err(CliError::Client(format!(
            "stream {stream} holds {messages} messages, not {wanted}: store more, or name fewer with --msgs"
        ))),
        false => Ok(()),
    }
}

/// Returns the configuration of a consumer for a measurement.
fn consumer_config(read: &ReadArgs, acks: Acks, more: Value) -> Value {
    let mut config = json!({
        "deliver_policy": "all",
        "ack_policy": acks.as_api(),
        "replay_policy": "instant",
        "max_waiting": 512,
    });
    match read.filter.as_slice() {
        [] => {}
        [filter] => config["filter_subject"] = json!(filter),
        filters => config["filter_subjects"] = json!(filters),
    }
    if let Value::Object(more) = more {
        for (name, value) in more {
            config[name] = value;
        }
    }
    config
}

/// Creates the durable consumer, or uses the existing one; returns the subject of its pull requests.
async fn durable_consumer(
    args: &BenchArgs,
    js: &JsArgs,
    read: &ReadArgs,
    durable: &DurableArgs,
    session: &mut Session,
) -> Result<Vec<String>, CliError> {
    let info = existing(session, &js.stream).await?;
    prepare_read(session, &js.stream, read, &info, args.common.msgs).await?;
    let name = &durable.consumer;
    let mut more = json!({ "durable_name": name, "name": name });
    if durable.acks != Acks::None {
        // Each client may have two batches in flight.
        more["max_ack_pending"] = json!(read.batch.batch * 2 * u64::from(args.common.clients));
    }
    let config = consumer_config(read, durable.acks, more);
    let call = match &config["filter_subject"] {
        Value::String(filter) => format!("CONSUMER.CREATE.{}.{name}.{filter}", js.stream),
        _ => format!("CONSUMER.CREATE.{}.{name}", js.stream),
    };
    let made = session.ask(&call, Some(&json!({ "stream_name": js.stream, "config": config }))).await?;
    let pending = made["num_pending"].as_u64().unwrap_or_default();
    if pending < args.common.msgs && !read.purge {
        return Err(CliError::Client(format!(
            "consumer {name} has {pending} messages left, not {}: \"stonechat consumer reset {} {name} --force\" \
             lets it begin again, --msgs asks for fewer",
            args.common.msgs, js.stream
        )));
    }
    Ok(vec![next_subject(session, &js.stream, name)])
}

async fn getter(
    args: &BenchArgs,
    js: &JsArgs,
    command: &JsGetCommand,
    session: &mut Session,
) -> Result<Plan, CliError> {
    let info = existing(session, &js.stream).await?;
    let number = |name: &str| info["state"][name].as_u64().unwrap_or_default();
    has_enough(&js.stream, &info, 1)?;
    if info["config"]["allow_direct"] != true {
        return Err(CliError::Client(format!(
            "stream {0} lets nobody read directly; \"stonechat stream edit {0} --allow-direct\" changes it",
            js.stream
        )));
    }
    let subject = session.subject(&format!("DIRECT.GET.{}", js.stream));
    let (title, timed, operation) = match command {
        JsGetCommand::Sync => (
            "reader of single messages",
            "a get",
            Operation::Get { subject, first: number("first_seq"), last: number("last_seq") },
        ),
        JsGetCommand::Batch { batch, filter } => (
            "reader of batches",
            "a batch",
            Operation::GetBatch { subject, filter: filter.clone(), batch: batch.batch },
        ),
    };
    Ok(Plan::new(args, title, timed, operation).whole())
}

/// Returns the configuration of a bucket's stream.
fn bucket_config(bucket: &str, place: PlaceArgs, history: u64) -> Value {
    json!({
        "name": format!("KV_{bucket}"),
        "subjects": [format!("$KV.{bucket}.>")],
        "retention": "limits",
        "discard": "new",
        "storage": place.storage.as_api(),
        "num_replicas": place.replicas,
        "max_bytes": place.max_bytes,
        "max_msgs_per_subject": history,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
    })
}

async fn bucket(args: &BenchArgs, kv: &KvArgs, session: &mut Session) -> Result<Plan, CliError> {
    let stream = format!("KV_{}", kv.bucket);
    let keys = |randomize: u64| Numbers { max: randomize, is_random: randomize > 0 };
    let subjects = |prefix: String, randomize: u64| Subjects { prefix, numbers: Some(keys(randomize)) };
    match &kv.command {
        KvCommand::Put { place, history, randomize, pace } => {
            create_or_update(session, &stream, &bucket_config(&kv.bucket, *place, *history)).await?;
            if place.purge {
                purge(session, &stream).await?;
            }
            let messages = Messages {
                subjects: subjects(format!("$KV.{}.", kv.bucket), *randomize),
                headers: Vec::new(),
                body: filler(args.common.size),
                id: None,
            };
            let operation = Operation::Exchange { messages, batch: 1, answer: Answer::Stored };
            Ok(Plan::new(args, "writer of keys", "a put", operation).with_pace(*pace))
        }
        KvCommand::Get { randomize } => {
            match session.ask(&format!("STREAM.INFO.{stream}"), None).await {
                Err(CliError::Api { err_code: 10059, .. }) => {
                    return Err(CliError::Client(format!(
                        "bucket {} not found; \"stonechat bench kv put\" creates and fills it",
                        kv.bucket
                    )));
                }
                other => other?,
            };
            let prefix = session.subject(&format!("DIRECT.GET.{stream}.$KV.{}.", kv.bucket));
            let messages = Messages {
                subjects: subjects(prefix, *randomize),
                headers: Vec::new(),
                body: Vec::new(),
                id: None,
            };
            let operation = Operation::Exchange { messages, batch: 1, answer: Answer::Message };
            Ok(Plan::new(args, "reader of keys", "a get", operation))
        }
    }
}

/// Deletes the consumers that were created for one run.
///
/// # Errors
/// The server refuses a request.
pub(super) async fn clean_up(jetstream: &JetStreamArgs, plan: &Plan) -> Result<(), CliError> {
    let Operation::Pull(Pull { is_ordered: true, subjects, .. }) = &plan.operation else { return Ok(()) };
    let mut session = Session::open(jetstream).await?;
    for subject in subjects {
        let mut tokens = subject.rsplit('.');
        if let (Some(consumer), Some(stream)) = (tokens.next(), tokens.next()) {
            session.ask(&format!("CONSUMER.DELETE.{stream}.{consumer}"), None).await?;
        }
    }
    session.connection.client.flush().await.map_err(client_error)
}
