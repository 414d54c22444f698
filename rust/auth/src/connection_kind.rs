//! The kinds of connection that a user may be restricted to.

use std::fmt;

/// How a client is connected, in the terms of `allowed_connection_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ConnectionKind {
    /// A NATS client over TCP or TLS.
    Standard,
    /// A NATS client over WebSocket.
    Websocket,
    /// A leaf node over TCP or TLS.
    Leafnode,
    /// A leaf node over WebSocket.
    LeafnodeWs,
    /// An MQTT client over TCP or TLS.
    Mqtt,
    /// An MQTT client over WebSocket.
    MqttWs,
    /// A client in the server's own process.
    InProcess,
}

impl ConnectionKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Standard,
        Self::Websocket,
        Self::Leafnode,
        Self::LeafnodeWs,
        Self::Mqtt,
        Self::MqttWs,
        Self::InProcess,
    ];

    /// The name in configuration files and JWTs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::Websocket => "WEBSOCKET",
            Self::Leafnode => "LEAFNODE",
            Self::LeafnodeWs => "LEAFNODE_WS",
            Self::Mqtt => "MQTT",
            Self::MqttWs => "MQTT_WS",
            Self::InProcess => "IN_PROCESS",
        }
    }

    /// Returns the kind of that name, in upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for ConnectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of connection kinds. The empty set is the default and restricts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionKinds(u8);

impl ConnectionKinds {
    /// Adds a kind.
    pub fn insert(&mut self, kind: ConnectionKind) {
        self.0 |= 1 << kind as u8;
    }

    /// Whether a connection of that kind is allowed.
    #[must_use]
    pub fn allows(self, kind: ConnectionKind) -> bool {
        self.0 == 0 || self.0 & (1 << kind as u8) != 0
    }
}

impl FromIterator<ConnectionKind> for ConnectionKinds {
    fn from_iter<I: IntoIterator<Item = ConnectionKind>>(kinds: I) -> Self {
        let mut set = Self::default();
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_any_case() {
        for kind in ConnectionKind::ALL {
            assert_eq!(ConnectionKind::from_name(&kind.name().to_lowercase()), Some(kind));
        }
        assert_eq!(ConnectionKind::from_name("carrier pigeon"), None);
    }

    #[test]
    fn the_empty_set_allows_everything() {
        assert!(ConnectionKind::ALL.into_iter().all(|kind| ConnectionKinds::default().allows(kind)));
        let only = ConnectionKinds::from_iter([ConnectionKind::Mqtt]);
        for kind in ConnectionKind::ALL {
            assert_eq!(only.allows(kind), kind == ConnectionKind::Mqtt, "{kind}");
        }
    }
}
