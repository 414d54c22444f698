//! What the server says of itself in INFO.

use serde::Serialize;

/// INFO's fields in the order in which nats-server 2.15 writes them; what is empty, false or zero is left out where
/// nats-server leaves it out.
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
    /// Our own build's commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// nats-server names its toolchain here, always; so do we.
    pub go: String,
    /// Where clients connect.
    pub host: String,
    /// Where clients connect.
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
    /// What an nkey client must sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Where else the cluster takes clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The server is about to stop: reconnect elsewhere.
    #[serde(skip_serializing_if = "is_false")]
    pub ldm: bool,
    /// This is the INFO behind the first PONG.
    #[serde(skip_serializing_if = "is_false")]
    pub connect_info: bool,
    /// With `connect_info`: the account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// With `connect_info`: that account is the system account.
    #[serde(skip_serializing_if = "is_false")]
    pub acc_is_sys: bool,
    /// The JetStream API level, which nats-server names with JetStream off too.
    #[serde(skip_serializing_if = "is_zero")]
    pub api_lvl: u64,
    /// The server's public curve key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub xkey: String,
    /// Our own version, which tells Stonechat from nats-server.
    pub stonechat: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Info {
    /// The INFO line as it goes over the wire.
    pub fn line(&self) -> Vec<u8> {
        let mut line = b"INFO ".to_vec();
        // A struct of plain fields cannot fail to become JSON; an empty object would still be an INFO.
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
