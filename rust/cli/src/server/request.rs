//! `stonechat server request`: prints monitoring data of all or some servers as JSON.

use serde_json::{Map, Value, json};

use super::args::{Kind, RequestArgs};
use super::system::ask_all;
use crate::error::CliError;
use crate::output::json_line;

impl Kind {
    /// Returns the last token of the request's subject.
    fn as_subject(self) -> &'static str {
        match self {
            Self::Subscriptions => "SUBSZ",
            Self::Variables => "VARZ",
            Self::Connections => "CONNZ",
            Self::Routes => "ROUTEZ",
            Self::Gateways => "GATEWAYZ",
            Self::Leafs => "LEAFZ",
            Self::Accounts => "ACCOUNTZ",
            Self::Jetstream => "JSZ",
            Self::Health => "HEALTHZ",
            Self::Statistics => "STATSZ",
            Self::Profile => "PROFILEZ",
        }
    }
}

/// Prints each answer on one line.
pub(super) async fn run(args: &RequestArgs) -> Result<(), CliError> {
    let mut body = Map::new();
    for (field, value) in [("server_name", &args.name), ("host", &args.host), ("cluster", &args.cluster)] {
        if let Some(value) = value {
            body.insert(field.to_owned(), json!(value));
        }
    }
    if !args.tags.is_empty() {
        body.insert("tags".to_owned(), json!(args.tags));
    }
    let subject = format!("$SYS.REQ.SERVER.PING.{}", args.kind.as_subject());
    let answers = ask_all(&args.jetstream, &subject, &Value::Object(body), args.wait).await?;
    answers.iter().try_for_each(|answer| json_line(&answer.value))
}
