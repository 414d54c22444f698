//! `stonechat consumer find`: lists the consumers that meet conditions.

use serde_json::{Value, json};

use super::args::FindArgs;
use super::list::{is_pull, level};
use crate::error::CliError;
use crate::listing;
use crate::output::{json_line, line, since, text_or_empty};
use crate::session::Session;
use crate::stream::{SelectBy, select as select_stream};

pub(super) async fn run(
    session: &mut Session,
    mut args: FindArgs,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, _) = select_stream(session, args.stream.take(), SelectBy::all(all)).await?;
    let mut found = listing::consumers(session, &stream).await?;
    found.retain(|info| is_match(info, &args));
    found.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    found.iter().try_for_each(|info| match json {
        true => json_line(&json!({ "name": info["name"] })),
        false => line(&text_or_empty(&info["name"])),
    })
}

/// Whether a consumer meets all conditions. `--invert` inverts each condition.
fn is_match(info: &Value, args: &FindArgs) -> bool {
    let is = |holds: bool| holds != args.invert;
    // A consumer whose count is zero never matches, as in the `nats` command.
    let fewer = |field: &str, limit: u64| {
        let number = info[field].as_u64().unwrap_or_default();
        number > 0 && if args.invert { number > limit } else { number < limit }
    };
    let replicas = info["config"]["num_replicas"].as_u64().unwrap_or_default();
    let is_bound =
        info["push_bound"] == true || info["num_waiting"].as_u64().is_some_and(|waiting| waiting > 0);
    (!args.pull || is(is_pull(info)))
        && (!args.push || is(!is_pull(info)))
        && (!args.bound || is(is_bound))
        && (!args.pinned || (info["config"]["priority_policy"] == "pinned_client" && is(is_pinned(info))))
        && args.waiting.filter(|limit| *limit > 0).is_none_or(|limit| fewer("num_waiting", limit))
        && args.ack_pending.filter(|limit| *limit > 0).is_none_or(|limit| fewer("num_ack_pending", limit))
        && args.pending.filter(|limit| *limit > 0).is_none_or(|limit| fewer("num_pending", limit))
        && args.idle.is_none_or(|limit| {
            since(&info["delivered"]["last_active"]).is_some_and(|passed| is(passed > limit))
        })
        && args.created.is_none_or(|limit| since(&info["created"]).is_some_and(|age| is(age >= limit)))
        && args.replicas.filter(|limit| *limit > 0).is_none_or(|limit| match args.invert {
            true => replicas >= limit,
            false => replicas <= limit,
        })
        && args.api_level.filter(|least| *least > 0).is_none_or(|least| is(level(info) >= least))
}

/// Whether every priority group has a pinned client.
fn is_pinned(info: &Value) -> bool {
    let groups = info["config"]["priority_groups"].as_array().map_or(0, Vec::len);
    let states = info["priority_groups"].as_array().into_iter().flatten();
    states.filter(|group| group["pinned_client_id"].as_str().is_some_and(|id| !id.is_empty())).count()
        == groups
}
