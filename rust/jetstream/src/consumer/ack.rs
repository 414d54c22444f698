//! Acknowledgements: their subjects and payloads.

/// The delivery that an acknowledgement is about, from the subject of the acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckSubject {
    /// The message's sequence in the stream.
    pub stream: u64,
    /// Its sequence among the consumer's deliveries.
    pub consumer: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl AckSubject {
    /// Reads the last tokens of `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`.
    pub fn parse(rest: &[u8]) -> Option<Self> {
        let mut tokens =
            rest.split(|b| *b == b'.').map(|token| std::str::from_utf8(token).ok()?.parse().ok());
        let (deliveries, stream, consumer) = (tokens.next()??, tokens.next()??, tokens.next()??);
        (stream > 0).then_some(Self { stream, consumer, deliveries })
    }
}

/// The kind of an acknowledgement, from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb<'a> {
    /// The message is done.
    Ack,
    /// The message is to be delivered again, at once or after the given delay (`-NAK`).
    Nak(&'a [u8]),
    /// The message takes longer (`+WPI`).
    Progress,
    /// The message is done; the rest of the payload requests the next message (`+NXT`).
    Next(&'a [u8]),
    /// The message is not to be delivered again, for this reason (`+TERM`).
    Term(&'a [u8]),
    /// An unknown payload.
    Unknown,
}

impl<'a> Verb<'a> {
    /// Reads a payload.
    pub fn parse(payload: &'a [u8]) -> Self {
        match payload {
            b"" | b"+ACK" | b"+OK" => Self::Ack,
            b"+WPI" => Self::Progress,
            _ => {
                if let Some(rest) = payload.strip_prefix(b"+NXT") {
                    Self::Next(rest)
                } else if let Some(rest) = payload.strip_prefix(b"-NAK") {
                    Self::Nak(rest.trim_ascii())
                } else if let Some(rest) = payload.strip_prefix(b"+TERM") {
                    Self::Term(rest.trim_ascii())
                } else {
                    Self::Unknown
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_verbs() {
        let parsed = AckSubject::parse(b"2.17.19.1700000000.5");
        assert_eq!(parsed, Some(AckSubject { stream: 17, consumer: 19, deliveries: 2 }));
        assert_eq!(AckSubject::parse(b"2.x.19.17.5"), None);
        assert_eq!(AckSubject::parse(b"2.0.19.17.5"), None);
        assert_eq!(Verb::parse(b""), Verb::Ack);
        assert_eq!(Verb::parse(b"-NAK 10s"), Verb::Nak(b"10s"));
        assert_eq!(Verb::parse(b"+TERM because"), Verb::Term(b"because"));
        assert_eq!(Verb::parse(b"+NXT 5"), Verb::Next(b" 5"));
        assert_eq!(Verb::parse(b"+ACKS"), Verb::Unknown);
    }
}
