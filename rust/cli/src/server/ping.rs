//! Commands that list servers, ping them, and show one of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{InfoArgs, ListArgs, Order, PingArgs};
use super::system::{Answer, ask_all};
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, Table, byte_count, bytes, commas, count, duration, json_line, line, local_time, long_duration,
    since, text, text_or_empty,
};
use crate::values::api_nanoseconds;

const PING: &str = "$SYS.REQ.SERVER.PING";
/// Maximum characters of a server's id in a table.
const SHORT: usize = 10;
const VARIABLES: &str = "$SYS.REQ.SERVER.PING.VARZ";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

pub(super) async fn list(args: &ListArgs) -> Result<(), CliError> {
    let mut answers = ask_all(&args.jetstream, PING, &Value::Null, args.expect).await?;
    sort(&mut answers, args.sort);
    // By default the largest first, as in the `nats` command.
    if !args.reverse {
        answers.reverse();
    }
    if args.jetstream.json {
        return answers.iter().try_for_each(|answer| json_line(&answer.value));
    }
    let header = [
        "Name", "Cluster", "Host", "Version", "JS", "Conns", "Subs", "Mem", "CPU %", "Slow", "Uptime", "RTT",
    ];
    let mut table = Table::new("Server Overview".to_owned(), &header);
    let sum = |field: &str| {
        answers.iter().map(|answer| answer.value["statsz"][field].as_u64().unwrap_or_default()).sum::<u64>()
    };
    for Answer { value, took } in &answers {
        let (server, stats) = (&value["server"], &value["statsz"]);
        let is_jetstream = server["jetstream"] == true;
        table.row(vec![
            compact(server),
            text_or_empty(&server["cluster"]),
            text_or_empty(&server["host"]),
            text_or_empty(&server["ver"]),
            if is_jetstream { "yes" } else { "no" }.to_owned(),
            count(&stats["connections"]),
            count(&stats["subscriptions"]),
            byte_count(&stats["mem"]),
            format!("{:.1}", number(&stats["cpu"])),
            count(&stats["slow_consumers"]),
            since(&stats["start"]).map(long_duration).unwrap_or_default(),
            duration(rounded(*took)),
        ]);
    }
    line(table.render().trim_end())?;
    line(&format!(
        "{} servers, {} connections, {} subscriptions, {} memory",
        answers.len(),
        commas(sum("connections")),
        commas(sum("subscriptions")),
        bytes(sum("mem")),
    ))
}

/// Returns the name of a server; a name that is the server's id is shortened.
fn compact(server: &Value) -> String {
    let name = text_or_empty(&server["name"]);
    match server["name"] == server["id"] && name.len() > SHORT {
        true => format!("{}...", name.chars().take(SHORT).collect::<String>()),
        false => name,
    }
}

fn sort(answers: &mut [Answer], order: Order) {
    let field = |answer: &Answer, name: &str| number(&answer.value["statsz"][name]);
    let by = |name: &'static str| move |a: &Answer, b: &Answer| field(a, name).total_cmp(&field(b, name));
    match order {
        Order::Name => answers.sort_by_key(|answer| text_or_empty(&answer.value["server"]["name"])),
        Order::Conns => answers.sort_by(by("connections")),
        Order::Subs => answers.sort_by(by("subscriptions")),
        Order::Mem => answers.sort_by(by("mem")),
        Order::Cpu => answers.sort_by(by("cpu")),
        Order::Slow => answers.sort_by(by("slow_consumers")),
        Order::Uptime => answers.sort_by_key(|answer| since(&answer.value["statsz"]["start"])),
        Order::Rtt => answers.sort_by_key(|answer| answer.took),
    }
}

/// Rounds a time down to microseconds.
fn rounded(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or_default())
}

pub(super) async fn ping(args: &PingArgs) -> Result<(), CliError> {
    let answers = ask_all(&args.jetstream, PING, &Value::Null, args.expect).await?;
    let times: Vec<f64> = answers.iter().map(|answer| answer.took.as_secs_f64() * 1e3).collect();
    for Answer { value, took } in &answers {
        let server = &value["server"];
        let (name, id) = (text_or_empty(&server["name"]), text_or_empty(&server["id"]));
        match (args.jetstream.json, args.id) {
            (true, _) => json_line(&json!({ "name": name, "id": id, "rtt": api_nanoseconds(*took) }))?,
            (false, true) => line(&format!("{id} {name:<60} rtt={}", duration(rounded(*took))))?,
            (false, false) => line(&format!("{name:<60} rtt={}", duration(rounded(*took))))?,
        }
    }
    if !args.jetstream.json {
        let max = times.iter().copied().fold(f64::MIN, f64::max);
        let min = times.iter().copied().fold(f64::MAX, f64::min);
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        let replies = times.len();
        line("\n---- ping statistics ----")?;
        line(&format!("{replies} replies max: {max:.2} min: {min:.2} avg: {mean:.2}"))?;
        if let Some(missing) = args.expect.and_then(|expect| expect.checked_sub(replies)).filter(|n| *n > 0) {
            line(&format!("\nMissing {missing} server(s)"))?;
        }
    }
    Ok(())
}

/// Shows one server: its variables if it answers with them, otherwise the data of its ping.
pub(super) async fn info(args: &InfoArgs) -> Result<(), CliError> {
    let is_meant = |answer: &Answer| {
        let server = &answer.value["server"];
        args.name.as_ref().is_none_or(|name| server["name"] == **name || server["id"] == **name)
    };
    let answers = match ask_all(&args.jetstream, VARIABLES, &json!({}), None).await {
        Ok(answers) => answers,
        Err(CliError::Client(_)) => ask_all(&args.jetstream, PING, &Value::Null, None).await?,
        Err(error) => return Err(error),
    };
    let none =
        || CliError::Client(format!("no server {:?} answers", args.name.as_deref().unwrap_or_default()));
    let answer = answers.into_iter().find(is_meant).ok_or_else(none)?;
    if args.jetstream.json {
        return crate::output::json(&answer.value);
    }
    let (server, data) = (&answer.value["server"], &answer.value["data"]);
    let stats = if data.is_object() { data } else { &answer.value["statsz"] };
    let name = text_or_empty(&server["name"]);
    let mut facts = Facts::new(format!("Server information for {name} ({})", text_or_empty(&server["id"])));
    facts.section("Process Details");
    facts.add_some("Version", text(&server["ver"]));
    facts.add_some("Git Commit", text(&data["git_commit"]));
    facts.add_some("Go Version", text(&data["go"]));
    let start = &stats["start"];
    facts.add_some("Start Time", start.as_str().map(local_time));
    facts.add_some("Uptime", since(start).map(long_duration));
    facts.section("Connection Details");
    facts.add("Host", text_or_empty(&server["host"]));
    facts.add_some("Client Port", data["port"].as_u64().map(|port| port.to_string()));
    facts.add_some("Auth Required", data["auth_required"].as_bool().map(|is| is.to_string()));
    facts.add_some("TLS Required", data["tls_required"].as_bool().map(|is| is.to_string()));
    facts.add("JetStream", (server["jetstream"] == true).to_string());
    facts.section("Statistics");
    facts.add("CPU Cores", count(&stats["cores"]));
    facts.add("CPU Usage", format!("{:.1}%", number(&stats["cpu"])));
    facts.add("Memory Usage", byte_count(&stats["mem"]));
    facts.add("Connections", count(&stats["connections"]));
    facts.add("Subscriptions", count(&stats["subscriptions"]));
    let pair = |messages: &Value, size: &Value| format!("{} messages, {}", count(messages), byte_count(size));
    let (received, sent) = match data.is_object() {
        true => (pair(&data["in_msgs"], &data["in_bytes"]), pair(&data["out_msgs"], &data["out_bytes"])),
        false => {
            let (received, sent) = (&stats["received"], &stats["sent"]);
            (pair(&received["msgs"], &received["bytes"]), pair(&sent["msgs"], &sent["bytes"]))
        }
    };
    facts.add("Messages In", received);
    facts.add("Messages Out", sent);
    facts.add("Slow Consumers", count(&stats["slow_consumers"]));
    write_out(facts.render().as_bytes())
}
