//! Commands on whole buckets, and on the descriptions of objects.

use std::time::Duration;

use serde_json::{Value, json};
use stonechat_buckets::names::object_stream;
use stonechat_buckets::{Description, Facts, StoreStatus, code};

use super::args::{BucketArgs, LinkArgs, Storage};
use super::config;
use super::list;
use super::store::Store;
use super::upload::random_id;
use crate::ask;
use crate::configuration;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    self, bytes, commas, duration, json_line, line, local_time, shown, text, without_envelope,
};
use crate::session::Session;

pub(super) async fn add(
    session: &mut Session,
    args: &BucketArgs,
    storage: Storage,
    json: bool,
) -> Result<(), CliError> {
    let name = &args.bucket;
    let body = Value::Object(config::new(args, storage));
    match session.ask(&format!("STREAM.CREATE.{}", object_stream(name)), Some(&body)).await {
        Ok(info) => show(&Store { name: name.clone(), info, stream: object_stream(name) }, json),
        Err(CliError::Api { err_code: code::NAME_IN_USE, .. }) => Err(CliError::Client(format!(
            "bucket {name} exists with another configuration; \"stonechat object edit {name}\" changes it"
        ))),
        Err(error) => Err(error),
    }
}

pub(super) async fn edit(session: &mut Session, args: &BucketArgs, json: bool) -> Result<(), CliError> {
    let mut store = Store::open(session, &args.bucket).await?;
    let mut config = configuration::taken(&mut store.info)?;
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
        return output::json(&json!({ "bucket": store.name, "stream": without_envelope(&store.info) }));
    }
    let config = &store.info["config"];
    let status = StoreStatus::of(&store.info);
    let created = local_time(store.info["created"].as_str().unwrap_or_default());
    let unlimited = || "unlimited".to_owned();
    let mut facts =
        output::Facts::new(format!("Information for Object Store Bucket {} created {created}", store.name));
    facts.section("Configuration");
    facts.add("Bucket Name", &store.name);
    facts.add_some("Description", text(&config["description"]));
    facts.add("Replicas", commas(status.replicas));
    facts.add("TTL", status.ttl_ns.map(Duration::from_nanos).map_or_else(unlimited, duration));
    facts.add("Sealed", status.is_sealed.to_string());
    facts.add("Size", bytes(status.bytes));
    facts.add("Maximum Bucket Size", status.max_bytes.map_or_else(unlimited, bytes));
    facts.add("Storage", if status.storage == "memory" { "Memory" } else { "File" });
    facts.add("Compressed", status.is_compressed.to_string());
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
    // With `--force`, an object that is already deleted is deleted again.
    let found = store.find(session, object).await?.filter(|info| force || !info.is_deleted());
    let none = || CliError::NoObject { bucket: bucket.to_owned(), object: object.to_owned() };
    let info = found.ok_or_else(none)?;
    let question = format!("Delete {} byte file {bucket} > {}?", bytes(info.size()), shown(object));
    ask::agree(&question, force).await?;
    store.describe(session, &Description::clone(&info).deleted()).await?;
    if let Some(id) = info.chunk_id() {
        store.purge_chunks(session, id).await?;
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
    let mut config = configuration::taken(&mut store.info)?;
    config.insert("sealed".to_owned(), json!(true));
    store.info =
        session.ask(&format!("STREAM.UPDATE.{}", store.stream), Some(&Value::Object(config))).await?;
    if !json {
        line(&format!("{bucket} has been sealed"))?;
    }
    show(&store, json)
}

/// Creates a link to an object or a bucket.
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
            (target.to_owned(), Some(object.clone()))
        }
        None if args.target_bucket.is_some() => (target.to_owned(), None),
        None => return Err(CliError::Client("name an object, or a --target-bucket".to_owned())),
    };
    let description = Description::new(&Facts {
        bucket: args.bucket.clone(),
        name: args.link.clone(),
        link: Some(link),
        nuid: random_id(session),
        ..Facts::default()
    });
    store.describe(session, &description).await?;
    let info = store.object(session, &args.link).await?;
    match json {
        true => json_line(&info.value),
        false => write_out(info.facts(&args.bucket).render().as_bytes()),
    }
}
