//! Commands on whole buckets, and on the descriptions of objects.

use serde_json::{Value, json};

use super::args::{BucketArgs, LinkArgs, Storage};
use super::config;
use super::list;
use super::store::{Store, stream_name};
use crate::ask;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, byte_count, byte_limit, bytes, count, duration, json_line, line, local_time, nanoseconds, shown,
    text, without_envelope,
};
use crate::session::Session;

/// Error of the API: a stream with this name, but another configuration, is there.
const NAME_IN_USE: u64 = 10058;

pub(super) async fn add(
    session: &mut Session,
    args: &BucketArgs,
    storage: Storage,
    json: bool,
) -> Result<(), CliError> {
    let name = &args.bucket;
    let body = Value::Object(config::new(args, storage));
    match session.ask(&format!("STREAM.CREATE.{}", stream_name(name)), Some(&body)).await {
        Ok(info) => show(&Store { name: name.clone(), info, stream: stream_name(name) }, json),
        Err(CliError::Api { err_code: NAME_IN_USE, .. }) => Err(CliError::Client(format!(
            "bucket {name} exists with another configuration; \"stonechat object edit {name}\" changes it"
        ))),
        Err(error) => Err(error),
    }
}

pub(super) async fn edit(session: &mut Session, args: &BucketArgs, json: bool) -> Result<(), CliError> {
    let mut store = Store::open(session, &args.bucket).await?;
    let Value::Object(mut config) = store.info["config"].take() else {
        return Err(CliError::Client(format!("bucket {} has no configuration", args.bucket)));
    };
    config::apply(&mut config, args);
    store.info =
        session.ask(&format!("STREAM.UPDATE.{}", store.stream), Some(&Value::Object(config))).await?;
    show(&store, json)
}

pub(super) async fn info(
    session: &mut Session,
    bucket: Option<String>,
    object: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let bucket = match bucket {
        Some(bucket) => bucket,
        None => {
            let names = list::names(session).await?;
            if names.is_empty() {
                return Err(CliError::Client("there are no buckets of objects".to_owned()));
            }
            ask::choose("Select a Bucket", &names, "the name of a bucket").await?
        }
    };
    let store = Store::open(session, &bucket).await?;
    let Some(object) = object else { return show(&store, json) };
    let info = store.object(session, object).await?;
    match json {
        true => json_line(&info.value),
        false => write_out(info.facts(&bucket).render().as_bytes()),
    }
}

/// Prints a bucket.
fn show(store: &Store, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return crate::output::json(
            &json!({ "bucket": store.name, "stream": without_envelope(&store.info) }),
        );
    }
    let (config, state) = (&store.info["config"], &store.info["state"]);
    let created = local_time(store.info["created"].as_str().unwrap_or_default());
    let mut facts =
        Facts::new(format!("Information for Object Store Bucket {} created {created}", store.name));
    facts.section("Configuration");
    facts.add("Bucket Name", &store.name);
    facts.add_some("Description", text(&config["description"]));
    facts.add("Replicas", count(&config["num_replicas"]));
    let ttl = nanoseconds(&config["max_age"]);
    facts.add("TTL", ttl.map_or_else(|| "unlimited".to_owned(), duration));
    facts.add("Sealed", (config["sealed"] == true).to_string());
    facts.add("Size", byte_count(&state["bytes"]));
    facts.add("Maximum Bucket Size", byte_limit(&config["max_bytes"]));
    facts.add("Storage", if config["storage"] == "memory" { "Memory" } else { "File" });
    facts.add("Compressed", (config["compression"] == "s2").to_string());
    facts.add("Backing Store Kind", "JetStream");
    facts.add_some("JetStream Stream", text(&config["name"]));
    facts.add_metadata(&config["metadata"]);
    write_out(facts.render().as_bytes())
}

pub(super) async fn remove(
    session: &mut Session,
    bucket: &str,
    object: &str,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let store = Store::open(session, bucket).await?;
    // What is deleted already is deleted again, if nobody has to be asked.
    let found = store.find(session, object).await?.filter(|info| force || !info.is_deleted());
    let none = || CliError::NoObject { bucket: bucket.to_owned(), object: object.to_owned() };
    let info = found.ok_or_else(none)?;
    let question = format!("Delete {} byte file {bucket} > {}?", bytes(info.size()), shown(object));
    ask::agree(&question, force).await?;
    let mut value = info.value.clone();
    if let Value::Object(fields) = &mut value {
        fields.shift_remove("digest");
        for (name, gone) in [
            ("size", json!(0)),
            ("chunks", json!(0)),
            ("mtime", json!("0001-01-01T00:00:00Z")),
            ("deleted", json!(true)),
        ] {
            fields.insert(name.to_owned(), gone);
        }
    }
    store.describe(session, &value).await?;
    if !info.nuid().is_empty() {
        store.purge_chunks(session, info.nuid()).await?;
    }
    if json {
        return json_line(&json!({ "bucket": bucket, "name": object, "deleted": true }));
    }
    line(&format!("Removed {bucket} > {}", shown(object)))?;
    show(&store.reload(session).await?, false)
}

pub(super) async fn remove_bucket(
    session: &mut Session,
    bucket: &str,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let store = Store::open(session, bucket).await?;
    ask::agree(&format!("Delete bucket {bucket} and all its files?"), force).await?;
    session.ask(&format!("STREAM.DELETE.{}", store.stream), None).await?;
    if json { json_line(&json!({ "bucket": bucket, "deleted": true })) } else { Ok(()) }
}

pub(super) async fn seal(
    session: &mut Session,
    bucket: &str,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let question = format!("Really seal Bucket {bucket}, sealed buckets can not be unsealed or modified");
    ask::agree(&question, force).await?;
    let mut store = Store::open(session, bucket).await?;
    let mut config = store.info["config"].take();
    config["sealed"] = json!(true);
    store.info = session.ask(&format!("STREAM.UPDATE.{}", store.stream), Some(&config)).await?;
    if !json {
        line(&format!("{bucket} has been sealed"))?;
    }
    show(&store, json)
}

/// Gives an object, or a bucket, another name.
pub(super) async fn link(session: &mut Session, args: &LinkArgs, json: bool) -> Result<(), CliError> {
    let store = Store::open(session, &args.bucket).await?;
    let there = store.find(session, &args.link).await?.filter(|info| !info.is_deleted());
    if there.is_some_and(|info| info.link().is_none()) {
        let (bucket, link) = (&args.bucket, &args.link);
        return Err(CliError::Client(format!(
            "{bucket} > {link:?} is an object already; a link can't replace it"
        )));
    }
    let target = args.target_bucket.as_deref().unwrap_or(&args.bucket);
    let other = if target == args.bucket { store.clone() } else { Store::open(session, target).await? };
    let link = match &args.object {
        Some(object) => {
            let info = other.object(session, object).await?;
            if info.link().is_some() {
                return Err(CliError::Client(format!(
                    "{target} > {object:?} is a link; link to what it stands for"
                )));
            }
            json!({ "bucket": target, "name": object })
        }
        None if args.target_bucket.is_some() => json!({ "bucket": target }),
        None => return Err(CliError::Client("name an object, or a --target-bucket".to_owned())),
    };
    let inbox = session.connection.client.new_inbox();
    let value = json!({
        "name": args.link,
        "options": { "link": link },
        "bucket": args.bucket,
        "nuid": inbox.rsplit('.').next(),
        "size": 0,
        "mtime": "0001-01-01T00:00:00Z",
        "chunks": 0,
    });
    store.describe(session, &value).await?;
    let info = store.object(session, &args.link).await?;
    match json {
        true => json_line(&info.value),
        false => write_out(info.facts(&args.bucket).render().as_bytes()),
    }
}
