//! The script of a JetStream test, one step a line, so that people can read and write seeds.

/// One step of a script. An index beyond the end of a list wraps around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// `r PATH BODY`: a request on `$JS.API.PATH`.
    Request { path: &'a [u8], body: &'a [u8] },
    /// `p SUBJECT|HEADERS|PAYLOAD|REPLY`: publishes a message.
    Publish { subject: &'a [u8], headers: Vec<u8>, payload: &'a [u8], reply: &'a [u8] },
    /// `b COUNT`: publishes this many messages on `s.0` to `s.6`, enough to fill segments.
    Burst(usize),
    /// `d SUBJECT|HEADERS|BODY`: a direct get on `$JS.API.DIRECT.GET.SUBJECT`.
    Direct { subject: &'a [u8], headers: Vec<u8>, body: &'a [u8] },
    /// `l CONSUMER|HEADERS|BODY`: a pull request.
    Pull { consumer: usize, headers: Vec<u8>, body: &'a [u8] },
    /// `a CONSUMER|TOKENS|VERB`: an acknowledgement; the tokens are those after the consumer's name.
    Ack { consumer: usize, tokens: &'a [u8], verb: &'a [u8] },
    /// `n CONSUMER|SEQUENCE`: reports that a message could not be delivered.
    NotDelivered { consumer: usize, sequence: u64 },
    /// `f CONSUMER|SUBJECT`: reports that a flow control request was taken off a client's queue.
    FlowTaken { consumer: usize, subject: &'a [u8] },
    /// `t MILLISECONDS`: advances the time.
    Wait(i64),
    /// `x RESTORE|CHUNK`: a piece of a backup.
    Chunk { restore: usize, data: &'a [u8] },
    /// `s SNAPSHOT`: acknowledges a chunk of a snapshot.
    SnapshotAck(usize),
    /// `i`: toggles the interest in the deliveries of consumers.
    Interest,
    /// `k`: kills the server, and restarts it.
    Kill,
    /// `c`: stops the server, and restarts it.
    Close,
    /// `w SEED`: cuts the power, and restarts the server.
    PowerCut(u64),
}

/// Maximum number of steps: enough for any behaviour, and fast.
const STEPS_MAX: usize = 150;

/// Returns the steps of an input; other lines are ignored.
pub(super) fn parse(data: &[u8]) -> Vec<Step<'_>> {
    data.split(|&b| b == b'\n').filter_map(step).take(STEPS_MAX).collect()
}

fn step(line: &[u8]) -> Option<Step<'_>> {
    let (op, rest) = line.split_first()?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let mut parts = rest.splitn(4, |&b| b == b'|');
    let mut part = || parts.next().unwrap_or_default();
    Some(match op {
        b'r' => {
            let at = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
            let (path, body) = rest.split_at(at);
            Step::Request { path, body: body.get(1..).unwrap_or_default() }
        }
        b'p' => Step::Publish { subject: part(), headers: headers(part()), payload: part(), reply: part() },
        b'b' => Step::Burst(number(part()).min(200) as usize),
        b'd' => Step::Direct { subject: part(), headers: headers(part()), body: part() },
        b'l' => Step::Pull { consumer: number(part()) as usize, headers: headers(part()), body: part() },
        b'a' => Step::Ack { consumer: number(part()) as usize, tokens: part(), verb: part() },
        b'n' => Step::NotDelivered { consumer: number(part()) as usize, sequence: number(part()) },
        b'f' => Step::FlowTaken { consumer: number(part()) as usize, subject: part() },
        b't' => Step::Wait(i64::try_from(number(part()).min(1 << 50)).unwrap_or(0)),
        b'x' => Step::Chunk { restore: number(part()) as usize, data: part() },
        b's' => Step::SnapshotAck(number(part()) as usize),
        b'i' => Step::Interest,
        b'k' => Step::Kill,
        b'c' => Step::Close,
        b'w' => Step::PowerCut(number(part())),
        _ => return None,
    })
}

/// Converts header lines, separated by `^`, to a header block. Text that is already a block is returned unchanged.
fn headers(text: &[u8]) -> Vec<u8> {
    if text.is_empty() || text.starts_with(b"NATS") {
        return text.to_vec();
    }
    let mut block = b"NATS/1.0\r\n".to_vec();
    for line in text.split(|&b| b == b'^') {
        block.extend_from_slice(line);
        block.extend_from_slice(b"\r\n");
    }
    block.extend_from_slice(b"\r\n");
    block
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
