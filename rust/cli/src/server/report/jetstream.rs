//! Report on JetStream's contents and load on each server.

use serde_json::{Value, json};

use super::args::{JetstreamArgs, JetstreamOrder};
use super::{Request, by_number, by_text, items, json_lines, number, total, total_bytes, total_count};
use crate::error::CliError;
use crate::output::{Table, bytes, commas, count, duration, nanoseconds, shown, text_or_empty};
use crate::session::Session;

/// Maximum streams of an account in one answer.
const STREAMS: u64 = 10_000;

pub(super) async fn report(
    session: &mut Session,
    request: &Request,
    args: &JetstreamArgs,
) -> Result<String, CliError> {
    let options = match &args.account {
        None => json!({ "raft": true }),
        Some(account) => {
            json!({ "raft": true, "account": account, "streams": true, "consumer": true, "limit": STREAMS })
        }
    };
    let mut answers = request.ask(session, &args.servers, "JSZ", options).await?;
    if answers.is_empty() {
        return Err(CliError::Client("no server told of JetStream".to_owned()));
    }
    let by = |a: &Value, b: &Value, pointer: &str| {
        let field = |value: &Value| value.pointer(pointer).cloned().unwrap_or_default();
        by_number(&field(a), &field(b))
    };
    let name = |a: &Value, b: &Value| by_text(&a["server"]["name"], &b["server"]["name"]);
    let cluster = |a: &Value, b: &Value| by_text(&a["server"]["cluster"], &b["server"]["cluster"]);
    request.sort(&mut answers, |a, b| {
        let first = match args.sort {
            JetstreamOrder::Name => name(a, b),
            JetstreamOrder::Cluster => cluster(a, b),
            JetstreamOrder::Streams => by(a, b, "/data/streams"),
            JetstreamOrder::Consumers => by(a, b, "/data/consumers"),
            JetstreamOrder::Msgs => by(a, b, "/data/messages"),
            JetstreamOrder::Bytes => by(a, b, "/data/bytes"),
            JetstreamOrder::Mem => by(a, b, "/data/memory"),
            JetstreamOrder::File => by(a, b, "/data/storage"),
            JetstreamOrder::Api => by(a, b, "/data/api/total"),
            JetstreamOrder::Err => by(a, b, "/data/api/errors"),
        };
        first.then_with(|| name(a, b))
    });
    if request.json {
        return Ok(json_lines(&answers));
    }
    let is_compact = args.compact || !args.no_compact;
    let mut text = summary(&answers, args.account.as_deref(), is_compact);
    if !args.servers.is_filtered() {
        text += &meta_groups(&answers, is_compact);
    }
    Ok(text)
}

/// JetStream's contents on a server, of one account or of all.
struct Held {
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    memory: u64,
    file: u64,
    requests: u64,
}

impl Held {
    fn of(data: &Value, is_account: bool) -> Self {
        let account = items(&data["account_details"]).next().filter(|_| is_account);
        let Some(account) = account else {
            return Self {
                streams: number(&data["streams"]),
                consumers: number(&data["consumers"]),
                messages: number(&data["messages"]),
                bytes: number(&data["bytes"]),
                memory: number(&data["memory"]),
                file: number(&data["storage"]),
                requests: number(&data["api"]["total"]),
            };
        };
        let sum = |field: &str| {
            total(items(&account["stream_detail"]).map(|stream| number(&stream["state"][field])))
        };
        let (memory, file) = (number(&account["memory"]), number(&account["storage"]));
        Self {
            streams: items(&account["stream_detail"]).count() as u64,
            consumers: sum("consumer_count"),
            messages: sum("messages"),
            bytes: memory.saturating_add(file),
            memory,
            file,
            requests: number(&account["api"]["total"]),
        }
    }
}

fn summary(answers: &[Value], account: Option<&str>, is_compact: bool) -> String {
    let domain = |answer: &Value| text_or_empty(&answer["data"]["config"]["domain"]);
    let has_domain = answers.iter().any(|answer| !domain(answer).is_empty());
    let mut header = vec!["Server", "Cluster"];
    header.extend(has_domain.then_some("Domain"));
    header.extend(["Streams", "Consumers", "Messages", "Bytes", "Memory", "File", "API Req", "Pending"]);
    header.extend(["Quorum Sz", "Rescuing"]);
    let title = match account {
        Some(account) => format!("JetStream Summary for Account {}", shown(account)),
        None => "JetStream Summary".to_owned(),
    };
    let mut table = Table::new(title, &header);
    let names = names(answers.iter().map(|answer| &answer["server"]["name"]), is_compact);
    let all: Vec<Held> = answers.iter().map(|answer| Held::of(&answer["data"], account.is_some())).collect();
    for ((answer, name), held) in answers.iter().zip(names).zip(&all) {
        let (server, meta) = (&answer["server"], &answer["data"]["meta_cluster"]);
        let is_leader = meta.is_object() && meta["leader"] == server["name"];
        let mut row =
            vec![format!("{name}{}", if is_leader { "*" } else { "" }), text_or_empty(&server["cluster"])];
        row.extend(has_domain.then(|| domain(answer)));
        row.extend([held.streams, held.consumers, held.messages].map(commas));
        row.extend([held.bytes, held.memory, held.file].map(bytes));
        row.extend([commas(held.requests), count(&meta["pending"])]);
        if meta.is_object() {
            row.extend([count(&meta["quorum_needed"]), (meta["rescue"] == true).to_string()]);
        }
        table.row(row);
    }
    let mut row = vec![String::new(); header.len() - 10];
    row.extend([
        total_count(all.iter().map(|held| held.streams)),
        total_count(all.iter().map(|held| held.consumers)),
        total_count(all.iter().map(|held| held.messages)),
        total_bytes(all.iter().map(|held| held.bytes)),
        total_bytes(all.iter().map(|held| held.memory)),
        total_bytes(all.iter().map(|held| held.file)),
        total_count(all.iter().map(|held| held.requests)),
        total_count(answers.iter().map(|answer| number(&answer["data"]["meta_cluster"]["pending"]))),
    ]);
    table.row(row);
    table.render()
}

/// Formats the tables of meta groups, as their leaders report them, or a warning if no leader answered.
fn meta_groups(answers: &[Value], is_compact: bool) -> String {
    let metas = answers.iter().map(|answer| (&answer["server"]["name"], &answer["data"]["meta_cluster"]));
    let metas: Vec<(&Value, &Value)> = metas.filter(|(_, meta)| meta.is_object()).collect();
    let leaders: Vec<&Value> =
        metas.iter().filter(|(name, meta)| meta["leader"] == **name).map(|(_, meta)| *meta).collect();
    let size = metas.iter().map(|(_, meta)| number(&meta["cluster_size"])).max().unwrap_or_default();
    if size > 0 && leaders.is_empty() {
        return format!(
            "\nWARNING: no leader of the meta group answered: {} of {size} servers did, and JetStream needs {}.\n",
            answers.len(),
            size / 2 + 1
        );
    }
    leaders.into_iter().map(|meta| format!("\n{}", meta_group(meta, is_compact))).collect()
}

fn meta_group(meta: &Value, is_compact: bool) -> String {
    let own = json!({ "name": meta["leader"], "peer": meta["peer"], "current": true });
    let mut members: Vec<&Value> = items(&meta["replicas"]).chain([&own]).collect();
    members.sort_by(|a, b| by_text(&a["name"], &b["name"]));
    let title = format!("RAFT Meta Group Information - Lead cluster: {}", text_or_empty(&meta["name"]));
    let header = ["Connection Name", "ID", "Leader", "Current", "Online", "Active", "Lag"];
    let mut table = Table::new(title, &header);
    let names = names(members.iter().map(|member| &member["name"]), is_compact);
    for (member, name) in members.iter().zip(names) {
        table.row(vec![
            name,
            text_or_empty(&member["peer"]),
            if member["name"] == meta["leader"] { "yes" } else { "" }.to_owned(),
            (member["current"] == true).to_string(),
            (member["offline"] != true).to_string(),
            duration(nanoseconds(&member["active"]).unwrap_or_default()),
            count(&member["lag"]),
        ]);
    }
    table.render()
}

/// Returns the names of servers; compact ones without the domain that all of them share.
fn names<'a>(names: impl Iterator<Item = &'a Value>, is_compact: bool) -> Vec<String> {
    let names: Vec<String> = names.map(text_or_empty).collect();
    let parts: Vec<Vec<&str>> = names.iter().map(|name| name.split('.').collect()).collect();
    let shortest = parts.iter().map(Vec::len).min().unwrap_or_default();
    if !is_compact || shortest < 2 {
        return names;
    }
    // The first part of a name always stays.
    let is_common = |n: &usize| {
        let last = |parts: &Vec<&str>| parts[parts.len() - n].to_owned();
        parts.iter().all(|name| last(name) == last(&parts[0]))
    };
    let common = (1..shortest).take_while(is_common).count();
    parts.iter().map(|name| name[..name.len() - common].join(".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_the_domain_that_all_have() {
        let list = [json!("n1.a.example.net"), json!("n2.b.example.net")];
        assert_eq!(names(list.iter(), true), ["n1.a", "n2.b"]);
        assert_eq!(names(list.iter(), false), ["n1.a.example.net", "n2.b.example.net"]);
        assert_eq!(names([json!("n1.example.net")].iter(), true), ["n1"]);
        assert_eq!(names([json!("a"), json!("b.c"), Value::Null].iter(), true), ["a", "b.c", ""]);
    }

    #[test]
    fn clusters_are_shown_with_their_leader() {
        let server = |name: &str| {
            json!({ "server": { "name": name, "cluster": "C" }, "data": {
                "streams": 2, "bytes": 2048, "api": { "total": 7 },
                "meta_cluster": { "name": "C", "leader": "n1", "peer": "P1", "cluster_size": 3, "quorum_needed": 2,
                    "replicas": [{ "name": "n2", "peer": "P2", "current": true, "active": 1_000_000 },
                                 { "name": "n3", "peer": "P3", "current": false, "offline": true }] } } })
        };
        let answers = [server("n1"), server("n2")];
        let text = summary(&answers, None, true);
        assert!(text.contains("n1*") && !text.contains("n2*") && text.contains("4.0 KiB"), "{text}");
        let text = meta_groups(&answers, true);
        for expected in ["Lead cluster: C", "P2", "1ms", "yes"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(meta_groups(&answers[1..], true).contains("1 of 3 servers did, and JetStream needs 2"));
        assert_eq!(meta_groups(&[json!([5]), json!({})], true), "");
    }

    #[test]
    fn an_account_is_summed_up() {
        let data = json!({ "streams": 9, "account_details": [{ "memory": 5, "storage": 10, "api": { "total": 3 },
            "stream_detail": [{ "state": { "messages": 1, "consumer_count": 2 } }, { "state": { "messages": 4 } }] }] });
        let held = Held::of(&data, true);
        assert_eq!((held.streams, held.messages, held.consumers, held.bytes), (2, 5, 2, 15));
        assert_eq!(Held::of(&data, false).streams, 9);
        let _ = Held::of(&json!([1]), true);
    }
}
