//! The broker as the engine's [`Host`].

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use stonechat_broker::Broker;
use stonechat_jetstream::engine::Host;

/// The engine's view of the broker.
#[derive(Debug)]
pub(super) struct BrokerHost {
    broker: Arc<Broker>,
    /// A cryptographic generator: names of consumers and the like must not be guessable.
    random: StdRng,
}

impl BrokerHost {
    pub(super) fn new(broker: Arc<Broker>, random: StdRng) -> Self {
        Self { broker, random }
    }
}

impl Host for BrokerHost {
    fn is_wanted(&self, account: &str, subject: &[u8]) -> bool {
        self.broker.account(account).is_wanted(subject)
    }

    fn has_interest(&self, account: &str, subject: &[u8]) -> bool {
        self.broker.account(account).has_interest(subject)
    }

    fn has_subscriber(&self, account: &str, subject: &[u8]) -> bool {
        self.broker.account(account).has_subscriber(subject)
    }

    fn has_receiver(&self, account: &str, subject: &[u8], group: Option<&[u8]>) -> bool {
        self.broker.account(account).has_receiver(subject, group)
    }

    fn external(&self, account: &str, api: &str, deliver: &str, stream: &str) -> Option<String> {
        let account = self.broker.account(account);
        let create = format!("$JS.API.CONSUMER.CREATE.{stream}");
        let asked = format!("{api}{}", create.strip_prefix("$JS.API")?);
        let (target, subject) = account.service_behind(asked.as_bytes())?;
        // A subject to which a consumer would deliver; its last token is arbitrary.
        let deliver = if deliver.is_empty() { "$JS" } else { deliver };
        let delivered = format!("{deliver}.M.stonechat").replace("..", ".");
        let is_let = subject == create.as_bytes() && target.exports_to(&account, delivered.as_bytes());
        is_let.then(|| target.name().to_string())
    }

    fn max_payload(&self) -> u64 {
        self.broker.info().max_payload as u64
    }

    fn unique_id(&mut self) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..22).map(|_| char::from(LETTERS[self.random.random_range(0..LETTERS.len())])).collect()
    }
}
