//! Output of events: in full, on one line, or as CloudEvents.

use serde_json::{Value, json};

use super::kinds::{Field, Form, Kind, kind};
use crate::output::{
    Facts, byte_count, count, duration, list, local_time, nanoseconds, shown, since, text_or_empty,
};

/// Formats an event with all fields of its kind; an event of an unknown kind as JSON.
pub(super) fn full(subject: &str, event: &Value) -> String {
    let Some(kind) = known(event) else { return unknown(subject, event) };
    let mut facts = Facts::new(format!("[{}] [{}] {}", time(event), text_or_empty(&event["id"]), kind.title));
    let (sections, plain): (Vec<&Field>, Vec<&Field>) =
        kind.brief.iter().chain(kind.more).partition(|(_, _, form)| is_section(*form));
    let has_client = sections.iter().any(|(_, _, form)| *form == Form::Client);
    for (label, pointer, form) in plain {
        // Fields of the client are in the client's section.
        if !(has_client && pointer.starts_with("/client/")) {
            facts.add_some(label, value(event, pointer, *form));
        }
    }
    for (label, pointer, form) in sections {
        section(&mut facts, label, event.pointer(pointer).unwrap_or(&Value::Null), *form);
    }
    format!("{}\n", facts.render())
}

/// Formats an event on one line.
pub(super) fn short(subject: &str, event: &Value) -> String {
    let Some(kind) = known(event) else { return format!("{} {event}\n", shown(subject)) };
    let facts = kind.brief.iter().filter_map(|(label, pointer, form)| {
        value(event, pointer, *form).map(|value| format!("{}: {value}", label.to_lowercase()))
    });
    format!("{} [{}] {}\n", time(event), kind.title, facts.collect::<Vec<_>>().join(", "))
}

/// Converts an event to the form of CloudEvents 1.0.
pub(super) fn cloud_event(subject: &str, event: &Value) -> Value {
    let name = event["type"].as_str().unwrap_or_default();
    let mut parts = name.split('.').skip(2);
    json!({
        "type": name,
        "time": event["timestamp"],
        "id": event["id"],
        "source": format!("urn:nats:{}", parts.next().unwrap_or_default()),
        "specversion": "1.0",
        "subject": parts.next().unwrap_or(subject),
        "data": event,
    })
}

fn known(event: &Value) -> Option<&'static Kind> {
    event["type"].as_str().and_then(kind)
}

fn unknown(subject: &str, event: &Value) -> String {
    format!("Event of an unknown type on {}:\n\n{event:#}\n\n", shown(subject))
}

/// Returns the time of day of an event.
fn time(event: &Value) -> String {
    let time = local_time(event["timestamp"].as_str().unwrap_or_default());
    time.split_once(' ').map_or(time.clone(), |(_, time)| time.to_owned())
}

fn is_section(form: Form) -> bool {
    matches!(form, Form::Client | Form::Members | Form::Body)
}

/// Formats the value of a field; `None` if the field is missing or empty.
fn value(event: &Value, pointer: &str, form: Form) -> Option<String> {
    let value = event.pointer(pointer).filter(|value| !value.is_null() && *value != "")?;
    Some(match form {
        Form::Count => count(value),
        Form::Bytes => byte_count(value),
        Form::Duration => duration(nanoseconds(value)?),
        // The year 1 means that no time is set.
        Form::Time => since(value).and(value.as_str()).map(local_time)?,
        Form::Traffic => format!("{} messages, {}", count(&value["msgs"]), byte_count(&value["bytes"])),
        Form::Plain | Form::Client | Form::Members | Form::Body => match value {
            Value::String(text) => shown(text),
            other => other.to_string(),
        },
    })
}

fn section(facts: &mut Facts, label: &str, value: &Value, form: Form) {
    match form {
        Form::Client if value.is_object() => client(facts, label, value),
        Form::Members if value.is_array() => members(facts, label, value),
        Form::Body => body(facts, label, value),
        _ => {}
    }
}

fn client(facts: &mut Facts, label: &str, value: &Value) {
    facts.section(label);
    let plain = |pointer: &str| self::value(value, pointer, Form::Plain);
    facts.add_some("ID", plain("/id"));
    facts.add_some("User", plain("/user"));
    facts.add_some("Name", plain("/name"));
    facts.add_some("Account", plain("/acc"));
    let library = [plain("/lang"), plain("/ver")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    facts.add_some("Library", Some(library).filter(|text| !text.is_empty()));
    facts.add_some("Host", plain("/host"));
    facts.add_some("RTT", self::value(value, "/rtt", Form::Duration));
    facts.add_some("Kind", plain("/kind"));
    facts.add_some("Type", plain("/client_type"));
    facts.add_some("Issuer Key", plain("/issuer_key"));
    facts.add_some("Name Tag", plain("/name_tag").filter(|_| value["jwt"].is_string()));
    facts.add_some("Tags", list(&value["tags"]));
}

fn members(facts: &mut Facts, label: &str, value: &Value) {
    facts.section(label);
    for member in value.as_array().into_iter().flatten() {
        let state = if member["current"] == true { "current" } else { "behind" };
        let active = nanoseconds(&member["active"]).map(|time| format!(", active {} ago", duration(time)));
        facts.add(&text_or_empty(&member["name"]), format!("{state}{}", active.unwrap_or_default()));
    }
}

/// Adds the JSON of a request or an answer, which the event holds as text.
fn body(facts: &mut Facts, label: &str, value: &Value) {
    let text = value.as_str().unwrap_or_default();
    let body = match serde_json::from_str::<Value>(text) {
        Ok(body) => format!("{body}"),
        Err(_) => shown(text),
    };
    facts.add(label, if body.is_empty() { "nothing".to_owned() } else { body });
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::*;

    #[test]
    fn all_kinds_take_what_is_missing_or_odd() {
        for kind in &KINDS {
            for odd in [
                json!(null),
                json!("a\u{1b}[2J\n"),
                json!([{}, 5]),
                json!({ "id": [] }),
                json!(-5),
                json!(1e99),
            ] {
                let mut event = json!({ "type": kind.name, "id": odd, "timestamp": odd });
                for (_, pointer, _) in kind.brief.iter().chain(kind.more) {
                    event[pointer.split('/').nth(1).unwrap()] = odd.clone();
                }
                for text in [full("a", &event), short("a", &event), cloud_event("a", &event).to_string()] {
                    assert!(!text.contains('\u{1b}'), "{text}");
                }
            }
            assert!(short("a", &json!({ "type": kind.name })).contains(kind.title));
        }
    }

    #[test]
    fn events_are_shown() {
        let event = json!({
            "type": "io.nats.server.advisory.v1.client_disconnect", "id": "X1", "timestamp": "2026-11-30T21:17:28.75Z",
            "server": { "name": "tested" }, "reason": "Client Closed", "received": { "msgs": 1000, "bytes": 2048 },
            "client": { "id": 75, "user": "app", "acc": "APP", "lang": "go", "ver": "1.53.1", "rtt": 1_500_000 },
        });
        let text = full("s", &event);
        for expected in [
            "[X1] Client Disconnected",
            "Reason: Client Closed",
            "ID: 75",
            "Library: go 1.53.1",
            "Received: 1,000 messages, 2.0 KiB",
            "RTT: 1.5ms",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(short("s", &event).ends_with(
            "[Client Disconnected] user: app, client id: 75, account: APP, reason: Client Closed\n"
        ));
        let cloud = cloud_event("s", &event);
        assert_eq!((&cloud["source"], &cloud["subject"]), (&json!("urn:nats:server"), &json!("advisory")));
        assert!(full("s", &json!({ "type": "io.other" })).contains("unknown type on s"));
    }
}
