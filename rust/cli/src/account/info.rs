//! Shows the user, and the limits and usage of the account.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, byte_count, byte_limit, bytes as byte_text, count, duration, json as print_json, shown, text,
};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, as_json: bool) -> Result<(), CliError> {
    let timeout = session.timeout();
    let began = Instant::now();
    session.connection.settle(timeout).await?;
    // In whole microseconds.
    let rtt = Duration::from_micros(began.elapsed().as_micros() as u64);
    let user = user(session).await;
    let jetstream = session.ask("INFO", None).await;
    let server = session.connection.client.server_info();
    if as_json {
        let usage = match &jetstream {
            Ok(info) => crate::output::without_envelope(info),
            Err(_) => Value::Null,
        };
        return print_json(&json!({
            "user": user,
            "client_id": server.client_id,
            "client_ip": server.client_ip,
            "rtt": crate::values::api_nanoseconds(rtt),
            "max_payload": server.max_payload,
            "server_id": server.server_id,
            "server_name": server.server_name,
            "server_version": server.version,
            "jetstream": usage,
        }));
    }
    let mut facts = Facts::new("Account Information".to_owned());
    who(&mut facts, &user);
    facts.add("Client ID", server.client_id.to_string());
    facts.add("Client IP", shown(&server.client_ip));
    facts.add("RTT", duration(rtt));
    facts.add("Headers Supported", server.headers.to_string());
    facts.add("Maximum Payload", byte_text(server.max_payload as u64));
    facts.add("Connected Server ID", shown(&server.server_id));
    facts.add("Connected Server Version", shown(&server.version));
    facts.add_some(
        "Connected Server Name",
        Some(shown(&server.server_name)).filter(|name| *name != server.server_id),
    );
    permissions(&mut facts, &user["permissions"]);
    match &jetstream {
        Ok(info) => usage(&mut facts, info),
        Err(CliError::NoJetStream { .. } | CliError::Api { err_code: 10039, .. }) => {
            facts.section("JetStream is not supported in this account");
        }
        Err(error) => facts.section(&format!("JetStream does not answer: {error}")),
    }
    write_out(facts.render().as_bytes())
}

/// Returns the server's info about the user; null if the server has none.
async fn user(session: &mut Session) -> Value {
    let Ok(message) = session.ask_service("$SYS.REQ.USER.INFO", None, bytes::Bytes::new()).await else {
        return Value::Null;
    };
    let mut answer: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    answer.get_mut("data").map(Value::take).unwrap_or_default()
}

fn who(facts: &mut Facts, user: &Value) {
    facts.add_some("User", text(&user["user"]));
    match (text(&user["account"]), text(&user["account_name"])) {
        (Some(account), Some(name)) => facts.add("Account", format!("{name} ({account})")),
        (account, _) => facts.add_some("Account", account),
    }
    if user.is_object() {
        let expires = crate::output::nanoseconds(&user["expires"]);
        facts.add("Expires", expires.map_or_else(|| "never".to_owned(), duration));
    }
}

fn permissions(facts: &mut Facts, permissions: &Value) {
    for (title, kind) in [("Publish", "publish"), ("Subscribe", "subscribe")] {
        for (verb, field) in [("Allow", "allow"), ("Deny", "deny")] {
            let list = crate::output::list(&permissions[kind][field]);
            facts.add_some(&format!("{title} {verb}"), list);
        }
    }
}

fn usage(facts: &mut Facts, info: &Value) {
    facts.section("Account Usage");
    facts.add_some("Domain", text(&info["domain"]));
    facts.add("Storage", byte_count(&info["storage"]));
    facts.add("Memory", byte_count(&info["memory"]));
    facts.add("Streams", count(&info["streams"]));
    facts.add("Consumers", count(&info["consumers"]));
    facts.section("Account Limits");
    let limits = &info["limits"];
    for (name, field) in [
        ("Storage", "max_storage"),
        ("Storage Per Stream", "storage_max_stream_bytes"),
        ("Memory", "max_memory"),
        ("Memory Per Stream", "memory_max_stream_bytes"),
    ] {
        let is_limited = limits[field].as_i64().is_some_and(|limit| limit > 0);
        facts.add(name, if is_limited { byte_limit(&limits[field]) } else { "unlimited".to_owned() });
    }
    facts.add("Streams", crate::output::limit(&limits["max_streams"]));
    facts.add("Consumers", crate::output::limit(&limits["max_consumers"]));
}
