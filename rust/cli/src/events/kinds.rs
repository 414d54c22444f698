//! The kinds of events: their titles, and the fields that are shown.

/// The form in which a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A text, number or Boolean, unchanged.
    Plain,
    /// A number with thousands separators.
    Count,
    /// A number of bytes.
    Bytes,
    /// A duration in nanoseconds.
    Duration,
    /// A time.
    Time,
    /// A client, as its own section.
    Client,
    /// Messages and bytes.
    Traffic,
    /// The members of a group, as their own section.
    Members,
    /// JSON in a text field, as its own section.
    Body,
}

/// A field: its label, its JSON pointer, and its form.
pub(super) type Field = (&'static str, &'static str, Form);

/// A kind of event.
#[derive(Debug)]
pub(super) struct Kind {
    /// The event's type.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Fields of the short form.
    pub(super) brief: &'static [Field],
    /// Additional fields of the full form.
    pub(super) more: &'static [Field],
}

const STREAM: Field = ("Stream", "/stream", Form::Plain);
const CONSUMER: Field = ("Consumer", "/consumer", Form::Plain);
const DOMAIN: Field = ("Domain", "/domain", Form::Plain);
const ACTION: Field = ("Action", "/action", Form::Plain);
const SEQUENCE: Field = ("Stream Sequence", "/stream_seq", Form::Count);
const CONSUMER_SEQUENCE: Field = ("Consumer Sequence", "/consumer_seq", Form::Count);
const DELIVERIES: Field = ("Deliveries", "/deliveries", Form::Count);
const GROUP: Field = ("Group", "/group", Form::Plain);
const REASON: Field = ("Reason", "/reason", Form::Plain);
const LEADER: Field = ("Leader", "/leader", Form::Plain);
const CLUSTER: Field = ("Cluster", "/cluster", Form::Plain);
const MEMBERS: Field = ("Replicas", "/replicas", Form::Members);
const START: Field = ("Start", "/start", Form::Time);
const END: Field = ("End", "/end", Form::Time);
const CLIENT: Field = ("Client", "/client", Form::Client);
const USER: Field = ("User", "/client/user", Form::Plain);
const ACCOUNT: Field = ("Account", "/client/acc", Form::Plain);
const CLIENT_ID: Field = ("Client ID", "/client/id", Form::Plain);
const SERVER: Field = ("Server", "/server", Form::Plain);
const SERVER_ID: Field = ("Server ID", "/server_id", Form::Plain);
const SERVER_NAME: Field = ("Server", "/server/name", Form::Plain);
const SERVER_CLUSTER: Field = ("Cluster", "/server/cluster", Form::Plain);
const RECEIVED: Field = ("Received", "/received", Form::Traffic);
const SENT: Field = ("Sent", "/sent", Form::Traffic);
const ERROR: Field = ("Error", "/error", Form::Plain);

/// All known kinds.
pub(super) static KINDS: [Kind; 27] = [
    Kind {
        name: "io.nats.server.advisory.v1.client_connect",
        title: "Client Connected",
        brief: &[USER, CLIENT_ID, ACCOUNT],
        more: &[SERVER_NAME, SERVER_CLUSTER, CLIENT],
    },
    Kind {
        name: "io.nats.server.advisory.v1.client_disconnect",
        title: "Client Disconnected",
        brief: &[USER, CLIENT_ID, ACCOUNT, REASON],
        more: &[SERVER_NAME, SERVER_CLUSTER, RECEIVED, SENT, CLIENT],
    },
    Kind {
        name: "io.nats.server.advisory.v1.account_connections",
        title: "Account Connections",
        brief: &[
            ("Account", "/acc", Form::Plain),
            SERVER_NAME,
            ("Connections", "/conns", Form::Count),
            ("Leaf Nodes", "/leafnodes", Form::Count),
            ("Slow Consumers", "/slow_consumers", Form::Count),
            RECEIVED,
            SENT,
        ],
        more: &[SERVER_CLUSTER, ("Subscriptions", "/num_subscriptions", Form::Count)],
    },
    Kind {
        name: "io.nats.server.metric.v1.service_latency",
        title: "Service Latency",
        brief: &[
            ("Error", "/description", Form::Plain),
            ("Total", "/total", Form::Duration),
            ("Service", "/service", Form::Duration),
            ("System", "/system", Form::Duration),
            ("Requestor RTT", "/requestor/rtt", Form::Duration),
            ("Responder RTT", "/responder/rtt", Form::Duration),
        ],
        more: &[START, ("Requestor", "/requestor", Form::Client), ("Responder", "/responder", Form::Client)],
    },
    Kind {
        name: "io.nats.jetstream.metric.v1.consumer_ack",
        title: "Acknowledgement Sample",
        brief: &[STREAM, CONSUMER, SEQUENCE, DELIVERIES, ("Delay", "/ack_time", Form::Duration)],
        more: &[CONSUMER_SEQUENCE, DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.api_audit",
        title: "JetStream API",
        brief: &[("Subject", "/subject", Form::Plain), USER, ACCOUNT],
        more: &[
            SERVER,
            DOMAIN,
            CLIENT,
            ("Request", "/request", Form::Body),
            ("Response", "/response", Form::Body),
        ],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.api_limit_reached",
        title: "JetStream API Limit Reached",
        brief: &[SERVER, ("Dropped", "/dropped", Form::Count)],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.stream_action",
        title: "Stream Action",
        brief: &[ACTION, STREAM],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_action",
        title: "Consumer Action",
        brief: &[ACTION, STREAM, CONSUMER],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_pause",
        title: "Consumer Pause",
        brief: &[STREAM, CONSUMER, ("Paused", "/paused", Form::Plain), ("Until", "/pause_until", Form::Time)],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_group_pinned",
        title: "Client Pinned",
        brief: &[STREAM, CONSUMER, GROUP, ("Pinned Client", "/pinned_id", Form::Plain)],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_group_unpinned",
        title: "Client Unpinned",
        brief: &[STREAM, CONSUMER, GROUP, REASON],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_leader_elected",
        title: "Consumer Leader Elected",
        brief: &[STREAM, CONSUMER, LEADER],
        more: &[DOMAIN, MEMBERS],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.consumer_quorum_lost",
        title: "Consumer Quorum Lost",
        brief: &[STREAM, CONSUMER],
        more: &[DOMAIN, MEMBERS],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.stream_leader_elected",
        title: "Stream Leader Elected",
        brief: &[STREAM, LEADER],
        more: &[DOMAIN, MEMBERS],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.stream_quorum_lost",
        title: "Stream Quorum Lost",
        brief: &[STREAM],
        more: &[DOMAIN, MEMBERS],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.domain_leader_elected",
        title: "Domain Leader Elected",
        brief: &[LEADER, CLUSTER],
        more: &[DOMAIN, MEMBERS],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.max_deliver",
        title: "Delivery Attempts Exceeded",
        brief: &[STREAM, CONSUMER, SEQUENCE, DELIVERIES],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.nak",
        title: "Delivery Refused (NAK)",
        brief: &[STREAM, CONSUMER, SEQUENCE, DELIVERIES],
        more: &[CONSUMER_SEQUENCE, DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.terminated",
        title: "Message Terminated",
        brief: &[STREAM, CONSUMER, SEQUENCE, DELIVERIES, REASON],
        more: &[CONSUMER_SEQUENCE, DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.snapshot_create",
        title: "Snapshot Begun",
        brief: &[
            STREAM,
            ("Messages", "/state/messages", Form::Count),
            ("Bytes", "/state/bytes", Form::Bytes),
        ],
        more: &[
            ("First Sequence", "/state/first_seq", Form::Count),
            ("Last Sequence", "/state/last_seq", Form::Count),
            DOMAIN,
            CLIENT,
        ],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.snapshot_complete",
        title: "Snapshot Ended",
        brief: &[STREAM, START, END, ERROR],
        more: &[DOMAIN, CLIENT],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.restore_create",
        title: "Restore Begun",
        brief: &[STREAM],
        more: &[DOMAIN, CLIENT],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.restore_complete",
        title: "Restore Ended",
        brief: &[STREAM, ("Bytes", "/bytes", Form::Bytes), START, END],
        more: &[DOMAIN, CLIENT],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.stream_batch_abandoned",
        title: "Batch Abandoned",
        brief: &[STREAM, ("Batch", "/batch", Form::Plain), REASON],
        more: &[DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.server_out_of_space",
        title: "Server Out of Space",
        brief: &[SERVER, STREAM, CLUSTER],
        more: &[SERVER_ID, DOMAIN],
    },
    Kind {
        name: "io.nats.jetstream.advisory.v1.server_removed",
        title: "Server Removed",
        brief: &[SERVER, CLUSTER],
        more: &[SERVER_ID, DOMAIN],
    },
];

/// Returns the kind with this name, if it is known.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
