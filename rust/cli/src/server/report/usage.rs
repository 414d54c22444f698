//! Reports on CPU, memory and health of servers.

use serde_json::{Map, Value, json};

use super::args::{HealthArgs, ServersArgs};
use super::{Request, by_text, items, json_lines, number};
use crate::error::CliError;
use crate::output::{Table, bytes, shown, terminal_size, text_or_empty};
use crate::session::Session;

/// Maximum length of a bar in characters.
const WIDTH: u16 = 30;
/// Maximum number of a server's errors that are shown.
const ERRORS: usize = 10;

pub(super) async fn cpu(
    session: &mut Session,
    request: &Request,
    args: &ServersArgs,
) -> Result<String, CliError> {
    let used = usage(session, request, args, "cpu").await?;
    Ok(if request.json { as_json(&used) } else { bars("CPU Usage", &used, |value| format!("{value}")) })
}

pub(super) async fn memory(
    session: &mut Session,
    request: &Request,
    args: &ServersArgs,
) -> Result<String, CliError> {
    let used = usage(session, request, args, "mem").await?;
    Ok(if request.json { as_json(&used) } else { bars("Memory Usage", &used, |value| bytes(value as u64)) })
}

/// Returns one figure of each server, sorted by that figure.
async fn usage(
    session: &mut Session,
    request: &Request,
    args: &ServersArgs,
    field: &str,
) -> Result<Vec<(String, Value)>, CliError> {
    let answers = request.ask(session, args, "STATSZ", Value::Null).await?;
    let name = |answer: &Value| answer["server"]["name"].as_str().unwrap_or_default().to_owned();
    let mut used: Vec<(String, Value)> =
        answers.iter().map(|answer| (name(answer), answer["statsz"][field].clone())).collect();
    request.sort(&mut used, |(_, a), (_, b)| amount(a).total_cmp(&amount(b)));
    Ok(used)
}

fn amount(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn as_json(used: &[(String, Value)]) -> String {
    format!("{:#}\n", Value::Object(used.iter().cloned().collect::<Map<_, _>>()))
}

/// Draws a bar for each name, in proportion to its number.
fn bars(title: &str, used: &[(String, Value)], text: impl Fn(f64) -> String) -> String {
    let names: Vec<String> = used.iter().map(|(name, _)| shown(name)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let most = used.iter().map(|(_, value)| amount(value)).fold(0.0, f64::max);
    let width = f64::from((terminal_size().0 / 2).min(WIDTH));
    let mut result = format!("{title}\n\n");
    for (name, (_, value)) in names.iter().zip(used) {
        let value = amount(value);
        let blocks = if most > 0.0 { (value / most * width).round().max(0.0) as usize } else { 0 };
        result += &format!("  {name:>longest$}: {} ({})\n", "█".repeat(blocks), text(value));
    }
    result
}

/// Returns the report on health: which servers are healthy, and the errors of the others.
pub(super) async fn health(
    session: &mut Session,
    request: &Request,
    args: &HealthArgs,
) -> Result<String, CliError> {
    let options = json!({
        "js-enabled-only": args.js_enabled.then_some(true),
        "js-server-only": args.server_only.then_some(true),
        "account": args.account,
        "stream": args.stream,
        "consumer": args.consumer,
        "details": true,
    });
    let mut answers = request.ask(session, &args.servers, "HEALTHZ", options).await?;
    request.sort(&mut answers, |a, b| by_text(&a["server"]["name"], &b["server"]["name"]));
    Ok(if request.json { json_lines(&answers) } else { health_table(&answers) })
}

fn health_table(answers: &[Value]) -> String {
    let header = ["Server", "Cluster", "Domain", "Status", "Type", "Error"];
    let mut table = Table::new("Health Report".to_owned(), &header);
    let mut clusters: Vec<&Value> = Vec::new();
    let (mut well, mut errors) = (0, 0);
    for answer in answers {
        let (server, data) = (&answer["server"], &answer["data"]);
        let code = number(&data["status_code"]);
        well += usize::from(code == 200);
        if !clusters.contains(&&server["cluster"]) {
            clusters.push(&server["cluster"]);
        }
        table.row(vec![
            text_or_empty(&server["name"]),
            text_or_empty(&server["cluster"]),
            text_or_empty(&server["domain"]),
            format!("{} ({code})", text_or_empty(&data["status"])),
        ]);
        let found = items(&data["errors"]).count();
        errors += found;
        for error in items(&data["errors"]).take(ERRORS) {
            let mut row = vec![String::new(); 4];
            row.extend([text_or_empty(&error["type"]), text_or_empty(&error["error"])]);
            table.row(row);
        }
        if found > ERRORS {
            let mut row = vec![String::new(); 4];
            row[3] = format!("{} more errors", found - ERRORS);
            table.row(row);
        }
    }
    table.row(vec![
        answers.len().to_string(),
        clusters.len().to_string(),
        String::new(),
        format!("ok: {well} / err: {}", answers.len() - well),
        String::new(),
        errors.to_string(),
    ]);
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_numbers_are_large() {
        let used = vec![
            ("b".to_owned(), json!(0)),
            ("long\u{1b}".to_owned(), json!(50)),
            ("a".to_owned(), json!(100.5)),
        ];
        let text = bars("T", &used, |value| value.to_string());
        let lengths: Vec<usize> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [0, 0, 0, 15, 30], "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("(100.5)"), "{text}");
        assert!(!bars("T", &[("x".to_owned(), Value::Null)], |value| value.to_string()).contains('█'));
    }

    #[test]
    fn errors_stand_below_their_server() {
        let errors: Vec<Value> =
            (0..12).map(|i| json!({ "type": "STREAM", "error": format!("lost {i}") })).collect();
        let text = health_table(&[
            json!({ "server": { "name": "a" }, "data": { "status": "ok", "status_code": 200 } }),
            json!({ "server": { "name": "b" }, "data": { "status": "error", "status_code": 404, "errors": errors } }),
            json!(5),
        ]);
        for expected in ["ok (200)", "error (404)", "lost 9", "2 more errors", "ok: 1 / err: 2"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("lost 10"));
    }
}
