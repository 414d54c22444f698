//! `stonechat stream find`: lists the streams that meet conditions.

use serde_json::Value;

use super::args::FindArgs;
use super::list;
use crate::error::CliError;
use crate::listing;
use crate::output::{line, since};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, args: &FindArgs, json: bool) -> Result<(), CliError> {
    let mut found = listing::streams(session, None).await?;
    found.retain(|info| is_match(info, args));
    if found.is_empty() && !json {
        return if args.names { Ok(()) } else { line("No Streams found") };
    }
    list::print(found, "Streams".to_owned(), args.names, json)
}

/// Whether a stream meets all conditions. `--invert` inverts each condition.
fn is_match(info: &Value, args: &FindArgs) -> bool {
    let (config, state) = (&info["config"], &info["state"]);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let is = |holds: bool| holds != args.invert;
    // A value that equals the limit matches with and without `--invert`, as in the `nats` command.
    let at_most = |value: u64, limit: u64| if args.invert { value >= limit } else { value <= limit };
    let is_older = |value: &Value, limit| since(value).is_none_or(|age| age > limit);
    let level = || config["metadata"]["_nats.req.level"].as_str().and_then(|level| level.parse::<u64>().ok());
    (!args.empty || is(number(&state["messages"]) == 0))
        && args.idle.is_none_or(|limit| is(is_older(&state["last_ts"], limit)))
        && args.created.is_none_or(|limit| is(is_older(&info["created"], limit)))
        && args.consumers.is_none_or(|limit| at_most(number(&state["consumer_count"]), limit))
        && args
            .replicas
            .filter(|limit| *limit > 0)
            .is_none_or(|limit| at_most(number(&config["num_replicas"]), limit))
        && args.subject.as_ref().is_none_or(|subject| has_subject(config, subject, args.invert))
        && (!args.sourced || is(config["sources"].as_array().is_some_and(|sources| !sources.is_empty())))
        && (!args.mirrored || is(config["mirror"].is_object()))
        && args.api_level.filter(|least| *least > 0).is_none_or(|least| is(level().unwrap_or(0) >= least))
}

/// Whether the filter covers one of the stream's subjects; inverted, whether it does not cover one of them.
fn has_subject(config: &Value, filter: &str, is_inverted: bool) -> bool {
    let subjects = config["subjects"].as_array().into_iter().flatten().filter_map(Value::as_str);
    subjects.map(|subject| covers(filter, subject)).any(|is_covered| is_covered != is_inverted)
}

/// Whether `filter` covers all subjects that `subject` matches.
fn covers(filter: &str, subject: &str) -> bool {
    let mut rest = subject.split('.');
    for token in filter.split('.') {
        match (token, rest.next()) {
            (">", Some(_)) => return true,
            ("*", Some(other)) if other != ">" => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards_cover_subjects() {
        for (filter, subject) in
            [("a.*", "a.b"), ("a.>", "a.b.c"), (">", "a"), ("a.*", "a.*"), ("a.>", "a.>")]
        {
            assert!(covers(filter, subject), "{filter} {subject}");
        }
        for (filter, subject) in
            [("a", "a.b"), ("a.*", "a"), ("a.>", "a"), ("a.*", "a.>"), ("b", "a"), ("a.b", "a.*")]
        {
            assert!(!covers(filter, subject), "{filter} {subject}");
        }
    }

    #[test]
    fn conditions_can_be_turned_around() {
        let info = json!({ "config": { "subjects": ["a.b"], "num_replicas": 1 }, "state": { "messages": 0 },
            "created": "2020-01-01T00:00:00Z" });
        let none = FindArgs {
            empty: false,
            idle: None,
            created: None,
            consumers: None,
            subject: None,
            replicas: None,
            sourced: false,
            mirrored: false,
            api_level: None,
            invert: false,
            names: false,
        };
        assert!(is_match(&info, &none));
        for args in [
            FindArgs { empty: true, ..clone(&none) },
            FindArgs { created: Some(Duration::from_secs(60)), ..clone(&none) },
            FindArgs { subject: Some("a.*".to_owned()), ..clone(&none) },
        ] {
            assert!(is_match(&info, &args), "{args:?}");
            assert!(!is_match(&info, &FindArgs { invert: true, ..clone(&args) }), "{args:?}");
        }
        assert!(is_match(&json!(5), &none));
    }

    fn clone(args: &FindArgs) -> FindArgs {
        FindArgs { subject: args.subject.clone(), ..*args }
    }
}
