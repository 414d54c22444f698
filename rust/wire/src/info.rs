//! INFO: the server's description of itself.

use serde::Serialize;

/// INFO's fields in the order of nats-server 2.15. Empty, false and zero fields are omitted where nats-server omits
/// them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Info {
    /// The server's public nkey.
    pub server_id: String,
    /// The configured name, or the id.
    pub server_name: String,
    /// The nats-server version that this server is compatible with; clients gate features on it.
    pub version: String,
    /// Protocol level: 1.
    pub proto: i32,
    /// The commit of Stonechat's build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// The name of the toolchain, which nats-server always sends too.
    pub go: String,
    /// The host for client connections.
    pub host: String,
    /// The port for client connections.
    pub port: u16,
    /// Headers are supported.
    pub headers: bool,
    /// CONNECT must carry credentials.
    #[serde(skip_serializing_if = "is_false")]
    pub auth_required: bool,
    /// Connections must be encrypted.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_required: bool,
    /// Clients must show a certificate.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_verify: bool,
    /// Connections may be encrypted.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_available: bool,
    /// Most bytes of headers and body together.
    pub max_payload: usize,
    /// JetStream is on.
    #[serde(skip_serializing_if = "is_false")]
    pub jetstream: bool,
    /// The connection's id.
    #[serde(skip_serializing_if = "is_zero")]
    pub client_id: u64,
    /// The client's address as the server sees it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    /// The nonce that an nkey client must sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Other addresses at which the cluster accepts clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The server is about to stop: reconnect elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// Whether this is the INFO that follows the first PONG.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// With `connect_info`: the account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// With `connect_info`: that account is the system account.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// The JetStream API level, which nats-server sends with JetStream off too.
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
    /// The server's public curve key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
    /// Stonechat's own version, which distinguishes it from nats-server.
    pub stonechat: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Info {
    /// Returns the INFO line for the wire.
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        // A struct of plain fields always serialises; an empty object would still be an INFO.
        line.extend(serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()));
        line.extend_from_slice(b" \r\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_is_empty() {
        let info = Info { server_id: "N".into(), proto: 1, port: 4222, headers: true, ..Info::default() };
        let line = String::from_utf8(info.line()).unwrap();
        assert_eq!(
            line,
            "INFO {\"server_id\":\"N\",\"server_name\":\"\",\"version\":\"\",\"proto\":1,\"go\":\"\",\"host\":\"\",\
             \"port\":4222,\"headers\":true,\"max_payload\":0,\"stonechat\":\"\"} \r\n"
        );
    }
}
