//! Lists of streams, and of a stream's subjects.

use serde_json::{Value, json};

use super::args::{SubjectOrder, SubjectsArgs};
use super::select::is_internal;
use crate::error::CliError;
use crate::listing;
use crate::output::without_envelope;
use crate::output::{
    Table, byte_count, commas, count, json_line, line, shown, text_or_empty, time, time_ago,
};
use crate::session::Session;

/// Maximum widths of subject and count, in characters, for a table with three column pairs, and with two.
const WIDTHS: [(usize, usize); 2] = [(20, 3), (30, 2)];

pub(super) async fn run(
    session: &mut Session,
    subject: Option<&str>,
    names: bool,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    if names {
        let names = listing::stream_names(session, subject).await?;
        return names.iter().try_for_each(|name| match json {
            true => json_line(&json!({ "name": name })),
            false => line(&shown(name)),
        });
    }
    let found = listing::streams(session, subject).await?;
    let is_any = !found.is_empty();
    let found: Vec<Value> = found.into_iter().filter(|info| all || !is_internal(name(info))).collect();
    if found.is_empty() && !json {
        return line(match is_any {
            true => "No Streams defined, pass -a to include system streams",
            false => "No Streams defined",
        });
    }
    let title = match subject {
        Some(subject) => format!("Streams matching {}", shown(subject)),
        None => "Streams".to_owned(),
    };
    print(found, title, false, json)
}

/// Returns the name of a stream.
pub(super) fn name(info: &Value) -> &str {
    info["config"]["name"].as_str().unwrap_or_default()
}

/// Prints streams by size, or only their names.
pub(super) fn print(mut found: Vec<Value>, title: String, names: bool, json: bool) -> Result<(), CliError> {
    if names {
        found.sort_by(|a, b| name(a).cmp(name(b)));
        return found.iter().try_for_each(|info| match json {
            true => json_line(&json!({ "name": name(info) })),
            false => line(&shown(name(info))),
        });
    }
    found.sort_by_key(|info| info["state"]["bytes"].as_u64());
    if json {
        return found.iter().try_for_each(|info| json_line(&without_envelope(info)));
    }
    let header = ["Name", "Description", "Created", "Messages", "Size", "Last Message"];
    let mut table = Table::new(title, &header);
    for info in &found {
        table.row(vec![
            shown(name(info)),
            text_or_empty(&info["config"]["description"]),
            time(&info["created"]).unwrap_or_default(),
            count(&info["state"]["messages"]),
            byte_count(&info["state"]["bytes"]),
            time_ago(&info["state"]["last_ts"]),
        ]);
    }
    line(table.render().trim_end())
}

pub(super) async fn subjects(
    session: &mut Session,
    stream: &str,
    args: &SubjectsArgs,
    json: bool,
) -> Result<(), CliError> {
    let found = listing::subjects(session, stream, &args.filter).await?;
    let mut found: Vec<(String, u64)> =
        found.into_iter().map(|(subject, count)| (subject, count.as_u64().unwrap_or_default())).collect();
    found.sort_unstable_by(|a, b| match args.sort {
        SubjectOrder::Name => a.0.cmp(&b.0),
        SubjectOrder::Messages => (a.1, &a.0).cmp(&(b.1, &b.0)),
    });
    if args.reverse {
        found.reverse();
    }
    if json {
        return found
            .iter()
            .try_for_each(|(subject, count)| json_line(&json!({ "subject": subject, "messages": count })));
    }
    if found.is_empty() {
        return line(&format!("No subjects found matching {}", shown(&args.filter)));
    }
    if args.names {
        return found.iter().try_for_each(|(subject, _)| line(&shown(subject)));
    }
    line(subject_table(stream, &found).render().trim_end())
}

/// Returns a table of subjects and counts, in several column pairs if they are short.
fn subject_table(stream: &str, found: &[(String, u64)]) -> Table {
    let cells: Vec<[String; 2]> =
        found.iter().map(|(subject, count)| [shown(subject), commas(*count)]).collect();
    let longest = |i: usize| cells.iter().map(|pair| pair[i].chars().count()).max().unwrap_or_default();
    let width = longest(0) + longest(1);
    let columns = WIDTHS.iter().find(|(limit, _)| width < *limit).map_or(1, |(_, columns)| *columns);
    let columns = columns.min(cells.len());
    let mut table = Table::new(
        format!("{} Subjects in stream {stream}", found.len()),
        &["Subject", "Count"].repeat(columns),
    );
    for group in cells.chunks(columns) {
        table.row(group.iter().flatten().cloned().collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_subjects_stand_side_by_side() {
        let found: Vec<_> = (0..7).map(|i| (format!("a.{i}"), i)).collect();
        let text = subject_table("A", &found).render();
        assert!(
            text.starts_with("7 Subjects in stream A\n") && text.matches("Subject ").count() == 3,
            "{text}"
        );
        let long = [("x".repeat(60), 5)];
        assert_eq!(subject_table("A", &long).render().matches("Subject ").count(), 1);
    }
}
