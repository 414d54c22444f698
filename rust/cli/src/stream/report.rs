//! `stonechat stream report`: a table of streams, and their mirrors and sources.

use serde_json::{Value, json};

use super::args::ReportArgs;
use super::list::name;
use crate::error::CliError;
use crate::listing;
use crate::output::{Table, ago_or_never, byte_count, count, json_line, line, shown, text_or_empty};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, args: &ReportArgs, json: bool) -> Result<(), CliError> {
    let mut found = listing::streams(session, args.subject.as_deref()).await?;
    sort(&mut found, args);
    if let Some(file) = &args.dot {
        let written = std::fs::write(file, dot(&found));
        written.map_err(|error| CliError::File { path: file.clone(), reason: error.to_string() })?;
    }
    if json {
        return found.iter().try_for_each(|info| json_line(&summary(info)));
    }
    if found.is_empty() {
        return line("No Streams defined");
    }
    line(streams(&found, args.raw).render().trim_end())?;
    if found.iter().any(|info| origins(info).next().is_some()) {
        line(replication(&found, args.raw).render().trim_end())?;
    }
    Ok(())
}

fn sort(found: &mut [Value], args: &ReportArgs) {
    let number = |info: &Value, field: &str| info["state"][field].as_u64();
    if args.consumers {
        found.sort_by_key(|info| number(info, "consumer_count"));
    } else if args.messages {
        found.sort_by_key(|info| number(info, "messages"));
    } else if args.name {
        found.sort_by(|a, b| name(a).cmp(name(b)));
    } else if args.storage {
        found.sort_by(|a, b| a["config"]["storage"].as_str().cmp(&b["config"]["storage"].as_str()));
    } else {
        found.sort_by_key(|info| number(info, "bytes"));
    }
}

/// Returns a row of the report as JSON.
fn summary(info: &Value) -> Value {
    let (config, state) = (&info["config"], &info["state"]);
    json!({
        "name": config["name"],
        "storage": config["storage"],
        "consumers": state["consumer_count"],
        "messages": state["messages"],
        "bytes": state["bytes"],
        "lost": state["lost"]["msgs"].as_array().map_or(0, Vec::len),
        "deleted": state["num_deleted"].as_u64().unwrap_or_default(),
        "api_level": level(config),
        "mirror": info["mirror"],
        "sources": info["sources"],
    })
}

fn level(config: &Value) -> String {
    let level = text_or_empty(&config["metadata"]["_nats.req.level"]);
    if level.is_empty() { "0".to_owned() } else { level }
}

/// Formats a number, without separators if `is_raw`.
fn number(value: &Value, is_raw: bool) -> String {
    if is_raw { value.as_u64().unwrap_or_default().to_string() } else { count(value) }
}

fn streams(found: &[Value], is_raw: bool) -> Table {
    let header = ["Stream", "Storage", "Consumers", "Messages", "Bytes", "Lost", "Deleted", "API Level"];
    let mut table = Table::new("Stream Report".to_owned(), &header);
    for info in found {
        let (config, state) = (&info["config"], &info["state"]);
        let lost = state["lost"]["msgs"].as_array().map_or(0, Vec::len);
        table.row(vec![
            shown(name(info)),
            text_or_empty(&config["storage"]),
            number(&state["consumer_count"], is_raw),
            number(&state["messages"], is_raw),
            if is_raw { number(&state["bytes"], true) } else { byte_count(&state["bytes"]) },
            lost.to_string(),
            number(&state["num_deleted"], is_raw),
            level(config),
        ]);
    }
    table
}

/// Returns the mirror and the sources of a stream, each with its kind.
fn origins(info: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let mirror = Some(&info["mirror"]).filter(|mirror| mirror.is_object());
    let sources = info["sources"].as_array().into_iter().flatten();
    mirror.map(|mirror| ("Mirror", mirror)).into_iter().chain(sources.map(|source| ("Source", source)))
}

fn replication(found: &[Value], is_raw: bool) -> Table {
    let header =
        ["Stream", "Kind", "API Prefix", "Source Stream", "Filters and Transforms", "Active", "Lag", "Error"];
    let mut table = Table::new("Replication Report".to_owned(), &header);
    for info in found {
        for (kind, origin) in origins(info) {
            let transforms = origin["subject_transforms"].as_array().into_iter().flatten();
            let transforms: Vec<String> = transforms
                .map(|it| format!("{} to {}", text_or_empty(&it["src"]), text_or_empty(&it["dest"])))
                .collect();
            let filter = text_or_empty(&origin["filter_subject"]);
            let filter = if filter.is_empty() { filter } else { format!("{filter} untransformed") };
            table.row(vec![
                shown(name(info)),
                kind.to_owned(),
                text_or_empty(&origin["external"]["api"]),
                text_or_empty(&origin["name"]),
                if transforms.is_empty() { filter } else { transforms.join(", ") },
                ago_or_never(&origin["active"]),
                number(&origin["lag"], is_raw),
                text_or_empty(&origin["error"]["description"]),
            ]);
        }
    }
    table
}

/// Draws which stream copies from which, for Graphviz.
fn dot(found: &[Value]) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let mut text = String::from("digraph {\n  label=\"Stream Replication Structure\";\n");
    for info in found {
        for (kind, origin) in origins(info) {
            let from = quoted(origin["name"].as_str().unwrap_or_default());
            let style = if kind == "Mirror" { "color=\"blue\",label=\"Mirror\"" } else { "color=\"green\"" };
            text += &format!("  {from} -> {} [{style}];\n", quoted(name(info)));
        }
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_of_who_copies_from_whom() {
        let found = [
            json!({ "config": { "name": "M" }, "mirror": { "name": "A" } }),
            json!({ "config": { "name": "S" }, "sources": [{ "name": "A\"x" }, 5] }),
            json!(null),
        ];
        let text = dot(&found);
        assert!(text.contains("  \"A\" -> \"M\" [color=\"blue\",label=\"Mirror\"];\n"), "{text}");
        assert!(text.contains("  \"A\\\"x\" -> \"S\" [color=\"green\"];\n"), "{text}");
        let _ = (streams(&found, true).render(), replication(&found, false).render());
    }
}
