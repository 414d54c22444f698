//! CONNECT: the options that a client sends.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The options of a connection. The defaults apply until CONNECT arrives, and to fields that it omits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Answer every operation with `+OK`.
    pub verbose: bool,
    /// Check the subjects of published messages.
    pub pedantic: bool,
    /// Deliver the client's own messages to its own subscriptions.
    pub echo: bool,
    /// The client can send and receive headers.
    pub headers: bool,
    /// Send the client a 503 for a request that reaches no subscription.
    pub no_responders: bool,
    /// The protocol level, 0 or 1. With 1, the client accepts further INFO lines at any time.
    pub protocol: i64,
    /// The connection's name.
    pub name: String,
    /// The client library's language.
    pub lang: String,
    /// The client library's version.
    pub version: String,
    /// Credentials: the user name.
    pub user: String,
    /// Credentials: the password.
    pub pass: String,
    /// Credentials: the token.
    pub auth_token: String,
    /// Credentials: a public nkey, and `sig`, its signature of the nonce.
    pub nkey: String,
    /// Credentials: the signature of the nonce.
    pub sig: String,
    /// Credentials: a user JWT.
    pub jwt: String,
    /// A field of an earlier protocol; an account name is refused.
    pub account: String,
    /// A field of an earlier protocol; `true` is refused.
    pub new_account: bool,
}

/// CONNECT's text is not a JSON object, or a field has the wrong type.
#[derive(Debug)]
pub struct ConnectError(serde_json::Error);

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CONNECT can't be read: {}", self.0)
    }
}

impl std::error::Error for ConnectError {}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            name: String::new(),
            lang: String::new(),
            version: String::new(),
            user: String::new(),
            pass: String::new(),
            auth_token: String::new(),
            nkey: String::new(),
            sig: String::new(),
            jwt: String::new(),
            account: String::new(),
            new_account: false,
        }
    }
}

/// CONNECT's fields on the wire. An absent or null field changes nothing.
#[derive(Deserialize)]
struct Fields {
    verbose: Option<bool>,
    pedantic: Option<bool>,
    echo: Option<bool>,
    headers: Option<bool>,
    no_responders: Option<bool>,
    protocol: Option<i64>,
    name: Option<String>,
    lang: Option<String>,
    version: Option<String>,
    user: Option<String>,
    pass: Option<String>,
    auth_token: Option<String>,
    nkey: Option<String>,
    sig: Option<String>,
    jwt: Option<String>,
    account: Option<String>,
    new_account: Option<bool>,
    #[serde(rename = "tls_required")]
    _tls_required: Option<bool>,
}

impl ConnectOptions {
    /// Applies a CONNECT to these options. Keys match in any case, and the last of several equal keys counts, as Go
    /// reads JSON.
    ///
    /// # Errors
    /// The text is not a JSON object, or a known field has the wrong type. The caller must close the connection.
    pub fn apply(&mut self, json: &[u8]) -> Result<(), ConnectError> {
        let text = String::from_utf8_lossy(json);
        // `null` counts as an object without fields, as Go reads JSON.
        let fields: Option<Map<String, Value>> = serde_json::from_str(&text).map_err(ConnectError)?;
        let fields = fields.unwrap_or_default();
        let fields: Map<String, Value> = fields.into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
        let f = Fields::deserialize(Value::Object(fields)).map_err(ConnectError)?;
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut self.verbose, f.verbose);
        set(&mut self.pedantic, f.pedantic);
        set(&mut self.echo, f.echo);
        set(&mut self.headers, f.headers);
        set(&mut self.no_responders, f.no_responders);
        set(&mut self.protocol, f.protocol);
        set(&mut self.name, f.name);
        set(&mut self.lang, f.lang);
        set(&mut self.version, f.version);
        set(&mut self.user, f.user);
        set(&mut self.pass, f.pass);
        set(&mut self.auth_token, f.auth_token);
        set(&mut self.nkey, f.nkey);
        set(&mut self.sig, f.sig);
        set(&mut self.jwt, f.jwt);
        set(&mut self.account, f.account);
        set(&mut self.new_account, f.new_account);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_keeps_the_rest() {
        let mut options = ConnectOptions::default();
        options.apply(br#"{"Verbose":false,"name":"a","name":"b","user":null,"other":[1]}"#).unwrap();
        assert!(!options.verbose && options.pedantic && options.echo);
        assert_eq!(options.name, "b");
        for bad in
            [&b"{"[..], b"[]", b"{} x", br#"{"verbose":"yes"}"#, br#"{"protocol":1.5}"#, br#"{"user":7}"#]
        {
            assert!(options.clone().apply(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
