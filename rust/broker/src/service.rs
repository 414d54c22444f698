//! The server's own services, which answer ordinary requests.

use crate::broker::Broker;
use crate::client::Client;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A service of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// `$SYS.REQ.USER.INFO`: the requester's user and account, for every account.
    UserInfo,
    /// `$SYS.REQ.SERVER.PING`: the server's figures, for the system account.
    ServerPing,
    /// `$SYS.REQ.SERVER.PING.STATSZ`: the same as [`Service::ServerPing`].
    ServerPingStatsz,
    /// `$SYS.REQ.SERVER.PING.IDZ`: the server's name, host and id, for the system account.
    ServerPingIdz,
}

/// The description of this server in the envelope of system replies.
#[derive(Debug, Clone, Serialize)]
pub struct ServerInfo {
    /// The server's name.
    pub name: String,
    /// The host on which it listens.
    pub host: String,
    /// Its public nkey.
    pub id: String,
    /// The JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The nats-server version that it is compatible with.
    pub ver: String,
    /// Its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The operator's metadata about the server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Feature flags and whether they are set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub feature_flags: BTreeMap<String, bool>,
    /// Whether JetStream is enabled.
    pub jetstream: bool,
    /// Capabilities as bits.
    pub flags: u64,
    /// Sequence number of the server's own messages.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub time: String,
}

impl Service {
    /// Returns the services of an account.
    pub(crate) fn of_account(system: bool) -> &'static [Self] {
        match system {
            true => &[Self::UserInfo, Self::ServerPing, Self::ServerPingStatsz, Self::ServerPingIdz],
            false => &[Self::UserInfo],
        }
    }

    pub(crate) fn subject(self) -> &'static str {
        match self {
            Self::UserInfo => "$SYS.REQ.USER.INFO",
            Self::ServerPing => "$SYS.REQ.SERVER.PING",
            Self::ServerPingStatsz => "$SYS.REQ.SERVER.PING.STATSZ",
            Self::ServerPingIdz => "$SYS.REQ.SERVER.PING.IDZ",
        }
    }

    /// Returns the reply to a request with this payload. `None` if the request's filter names another server.
    pub(crate) fn answer(self, broker: &Broker, client: &Client, payload: &[u8]) -> Option<Vec<u8>> {
        let body = match self {
            Self::UserInfo => json!({ "server": broker.server_info(), "data": client.user_info() }),
            // Every server answers this request, whatever the filter says (as nats-server 2.15).
            Self::ServerPingIdz => self.of_server(broker),
            _ => match filter(payload) {
                Ok(filter) if !admits(&filter, broker) => return None,
                Ok(_) => self.of_server(broker),
                Err(error) => {
                    let error = json!({ "code": 400, "description": error.to_string() });
                    json!({ "server": broker.server_info(), "error": error })
                }
            },
        };
        serde_json::to_vec(&body).ok()
    }

    fn of_server(self, broker: &Broker) -> Value {
        let server = broker.server_info();
        match self {
            Self::ServerPingIdz => json!({ "name": server.name, "host": server.host, "id": server.id }),
            _ => json!({ "server": server, "statsz": broker.statsz() }),
        }
    }
}

/// Parses a request's filter of servers; an empty body means all servers.
fn filter(payload: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    match payload {
        b"" => Ok(Map::new()),
        payload => serde_json::from_slice(payload),
    }
}

/// Returns whether a filter admits this server.
fn admits(filter: &Map<String, Value>, broker: &Broker) -> bool {
    let exact = filter.get("exact_match").and_then(Value::as_bool).unwrap_or(false);
    let admits = |field: &str, own: &str| match filter.get(field).and_then(Value::as_str) {
        None | Some("") => true,
        Some(wanted) if exact => own == wanted,
        Some(wanted) => own.contains(wanted),
    };
    let info = broker.info();
    let tags = &broker.options().server_tags;
    let tagged = filter.get("tags").and_then(Value::as_array).is_none_or(|wanted| {
        let mut wanted = wanted.iter().filter_map(Value::as_str);
        wanted.all(|wanted| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
    });
    tagged
        && admits("server_name", &info.server_name)
        && admits("host", &info.host)
        && admits("cluster", "")
        && admits("domain", "")
}
