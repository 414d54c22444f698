"""Scripts about consumers, by name, which are played to both servers."""

from __future__ import annotations

from typing import Any

from .player import Ack, Ask, Fetch, Listen, Step, Until, api, create, publish

ONE_S = 1_000_000_000
NO_WAIT = {"batch": 100, "no_wait": True}
DELETE = api("STREAM.DELETE.S")
INFO = api("CONSUMER.INFO.S.C")


def waits(count: int, name: str = "C") -> Until:
    """Waits until `count` messages are pending for a consumer; the real server updates this number with a delay."""
    return Until(f"$JS.API.CONSUMER.INFO.S.{name}", "num_pending", count)


def consume(name: str = "C", action: str = "", **config: Any) -> Ask:
    """Creates a durable consumer of `S`, with explicit acknowledgements."""
    body: dict[str, Any] = {"durable_name": name, "name": name, "ack_policy": "explicit", **config}
    body = {key: value for key, value in body.items() if value is not None}
    request = {"stream_name": "S", "config": body, **({"action": action} if action else {})}
    return api(f"CONSUMER.CREATE.S.{name}", request)


def filled(**config: Any) -> list[Step]:
    """Creates a stream with some messages."""
    return [
        create("S", subjects=["s.>"], **config),
        publish("s.a", "1"),
        publish("s.b", "22", A="b"),
        publish("s.a", "333"),
        publish("s.c.d", ""),
        publish("s.a", "x" * 300, A="b", C="d"),
        publish("s.b", "6"),
    ]


def _configs() -> list[Step]:
    push: dict[str, Any] = {"deliver_subject": "out"}
    bad: list[dict[str, Any]] = [
        {"ack_policy": "nope"}, {"deliver_policy": "nope"}, {"replay_policy": "nope"}, {"unknown": 1},
        {"ack_wait": -1}, {"ack_wait": "1s"}, {"backoff": [1, 2], "max_deliver": 1}, {"backoff": [-1]},
        {"backoff": [ONE_S, 2 * ONE_S], "max_deliver": 5}, {"max_deliver": -5}, {"max_deliver": 3},
        {"filter_subject": "s.a", "filter_subjects": ["s.b"]}, {"filter_subjects": ["s.a", ""]},
        {"filter_subjects": ["s.>", "s.a"]}, {"filter_subjects": ["s.a", "s.b"]}, {"filter_subject": "x.y"},
        {"filter_subject": "s..a"}, {"deliver_policy": "last_per_subject"}, {"opt_start_seq": 5},
        {"opt_start_time": "2020-01-01T00:00:00Z"}, {"deliver_policy": "by_start_sequence"},
        {"deliver_policy": "by_start_time"}, {"deliver_policy": "by_start_sequence", "opt_start_seq": 3},
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 300},
        {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"},
        {"deliver_policy": "by_start_time", "opt_start_time": "2099-01-01T00:00:00Z"},
        {"deliver_policy": "by_start_time", "opt_start_time": "nonsense"},
        {"deliver_policy": "last"}, {"deliver_policy": "last", "filter_subject": "s.a"}, {"deliver_policy": "new"},
        {"deliver_policy": "last_per_subject", "filter_subject": "s.>"},
        {"deliver_policy": "last_per_subject", "filter_subject": "nobody"},
        {"rate_limit_bps": 1000}, {"idle_heartbeat": ONE_S}, {"flow_control": True}, {"max_batch": -1},
        {"max_expires": 10}, {"max_bytes": -1}, {"sample_freq": "abc"}, {"sample_freq": "100%"},
        {"sample_freq": "-5"}, {"max_waiting": -2}, {"max_waiting": 10}, {"max_ack_pending": -3},
        {"max_ack_pending": 5}, {"ack_policy": "none"}, {"ack_policy": "all"}, {"ack_policy": "flow_control"},
        {"num_replicas": 3}, {"num_replicas": -1}, {"num_replicas": 1}, {"mem_storage": True},
        {"inactive_threshold": ONE_S * 3600}, {"headers_only": True}, {"replay_policy": "original"},
        {"description": "d" * 5000}, {"metadata": {"a": "b"}}, {"metadata": {"a": "b" * 140_000}},
        {"priority_policy": "overflow"}, {"priority_policy": "overflow", "priority_groups": ["a"]},
        {"priority_policy": "nope"}, {"priority_groups": ["a"]},
        {"priority_policy": "overflow", "priority_groups": [""]},
        {"priority_policy": "overflow", "priority_groups": ["a b"]}, {"priority_timeout": ONE_S},
        {"priority_policy": "pinned_client", "priority_groups": ["a"]},
        {"priority_policy": "prioritized", "priority_groups": ["a", "b"]},
        {"pause_until": "2099-01-01T00:00:00Z"}, {"pause_until": "2001-01-01T00:00:00Z"}, {"direct": True},
        {**push, "max_waiting": 1}, {**push, "max_batch": 1},
        {**push, "priority_policy": "overflow", "priority_groups": ["a"]},
        {"deliver_subject": "s.x"}, {"deliver_subject": "out.*"}, {"deliver_subject": "out..x"},
        {**push, "idle_heartbeat": 1000}, {**push, "flow_control": True},
        {**push, "flow_control": True, "idle_heartbeat": ONE_S}, {**push, "ack_policy": "none"},
        {**push, "ack_policy": "none", "max_ack_pending": 5}, {**push, "deliver_group": "g"},
        {**push, "rate_limit_bps": 100_000}, {**push, "ack_policy": "flow_control"},
        {**push, "ack_policy": "flow_control", "ack_wait": ONE_S}, {"name": "other"}, {"durable_name": "other"},
        {"durable_name": None}, {"durable_name": None, "inactive_threshold": 10 * ONE_S},
    ]  # fmt: skip
    steps = filled()
    for config in bad:
        steps += [consume(**config), api("CONSUMER.DELETE.S.C")]
    return [*steps, DELETE]


def _subjects() -> list[Step]:
    config = {"ack_policy": "explicit"}
    durable = {**config, "durable_name": "C"}
    body = {"stream_name": "S", "config": config}
    return [
        *filled(),
        api("CONSUMER.CREATE.NOPE.C", {**body, "stream_name": "NOPE"}),
        api("CONSUMER.CREATE.S.C", {**body, "stream_name": "T"}),
        api("CONSUMER.CREATE.S.C", b""),
        api("CONSUMER.CREATE.S.C", b"{"),
        api("CONSUMER.CREATE.S.C", {**body, "foo": 1}),
        api("CONSUMER.CREATE.S.C", {**body, "action": "nope"}),
        api("CONSUMER.CREATE.S.C", {**body, "action": "update"}),
        api("CONSUMER.CREATE.S.a/b", body),
        api("CONSUMER.CREATE.S", {**body, "config": durable}),
        api("CONSUMER.CREATE.S.D", {**body, "config": durable}),
        api("CONSUMER.DURABLE.CREATE.S.C", body),
        api("CONSUMER.DURABLE.CREATE.S.D", {**body, "config": durable}),
        api("CONSUMER.DURABLE.CREATE.S.C", {**body, "config": durable}),
        api("CONSUMER.CREATE.S.C", {**body, "config": durable, "action": "create"}),
        api("CONSUMER.CREATE.S.C", {**body, "config": {**durable, "description": "x"}, "action": "create"}),
        api("CONSUMER.CREATE.S.C", {**body, "config": {**durable, "description": "x"}, "action": "update"}),
        api("CONSUMER.CREATE.S.E.s.a", body),
        api("CONSUMER.CREATE.S.E.s.a", {**body, "config": {**config, "filter_subject": "s.a"}}),
        api("CONSUMER.CREATE.S.F.s.a", {**body, "config": {**config, "filter_subjects": ["s.a", "s.b"]}}),
        api("CONSUMER.CREATE.S.F.s.*", {**body, "config": {**config, "filter_subject": "s.*"}}),
        api("CONSUMER.CREATE.S.G", body, Nats_Required_Api_Level="99"),
        api("CONSUMER.NAMES.S"), api("CONSUMER.NAMES.S", {"offset": 1}), api("CONSUMER.NAMES.S", {"foo": 1}),
        api("CONSUMER.NAMES.NOPE"), api("CONSUMER.LIST.S"), api("CONSUMER.LIST.S", {"offset": 2}),
        api("CONSUMER.LIST.NOPE"), INFO, api("CONSUMER.INFO.S.NOPE"), api("CONSUMER.INFO.NOPE.C"),
        api("CONSUMER.INFO.S.C", b"x"), api("CONSUMER.DELETE.S.C", b"x"), api("CONSUMER.DELETE.S.NOPE"),
        api("CONSUMER.DELETE.S.C"), api("CONSUMER.DELETE.S.C"), api("STREAM.INFO.S"),
        Ask("$JS.API.CONSUMER.MSG.NEXT.S.NOPE"), Ask("$JS.ACK.S.NOPE.1.1.1.1.1"),
        api("CONSUMER.LEADER.STEPDOWN.S.E"),
        DELETE,
    ]  # fmt: skip


def _pulls() -> list[Step]:
    return [
        *filled(),
        consume(),
        Fetch(b"", 1), Fetch(b"2", 2), INFO, Ack(0), Ack(2), INFO, Ack(1), INFO, Ack(1), Ack(0, "+OK"),
        Fetch(NO_WAIT), Fetch(NO_WAIT), INFO,
        Fetch({"batch": 1, "expires": ONE_S // 10}), Fetch({"expires": ONE_S // 10}),
        Fetch(b"{"), Fetch({"batch": "x"}), Fetch({"batch": 1, "expires": ONE_S, "idle_heartbeat": ONE_S}),
        Fetch({"batch": 1, "min_pending": 1}), Fetch({"batch": 1, "id": "x"}), Fetch({"batch": 1, "priority": 11}),
        Fetch({"batch": 1, "group": "a", "no_wait": True}),
        Ack(3, "-NAK"), Fetch(NO_WAIT), INFO, Ack(4, "+TERM"), Ack(5, "+TERM because"), INFO,
        Ack(3, "+WPI"), Ack(3, "nonsense"), Ack(3), INFO,
        publish("s.a", "7"), publish("s.a", "8"), publish("s.a", "9"),
        Fetch(b"", 1), Ack(7, "+NXT"), Ack(8, "+NXT 2", count=1), Ack(9, '+NXT {"batch":1,"no_wait":true}'), INFO,
        consume("L", max_batch=2, max_expires=ONE_S, max_bytes=1000),
        Fetch({"batch": 3}, consumer="S.L"), Fetch({"batch": 1, "expires": 2 * ONE_S}, consumer="S.L"),
        Fetch({"batch": 1, "max_bytes": 2000}, consumer="S.L"),
        Fetch({"batch": 2, "max_bytes": 200, "no_wait": True}, consumer="S.L"),
        Fetch({"batch": 2, "max_bytes": 1, "no_wait": True}, consumer="S.L"),
        consume("H", headers_only=True), Fetch(NO_WAIT, consumer="S.H"),
        consume("F", filter_subjects=["s.b", "s.c.>"]), Fetch(NO_WAIT, consumer="S.F"),
        consume("A", ack_policy="all"), Fetch(b"4", 4, consumer="S.A"), Ack(-2), api("CONSUMER.INFO.S.A"),
        consume("N", ack_policy="none", max_ack_pending=None), Fetch(NO_WAIT, consumer="S.N"), Ack(-1, answered=False),
        api("CONSUMER.INFO.S.N"),
        consume("P", max_ack_pending=2), Fetch({"batch": 5, "expires": ONE_S // 5}, consumer="S.P"),
        api("CONSUMER.INFO.S.P"),
        consume("PU", deliver_subject="out"), Fetch(b"", consumer="S.PU"),
        DELETE,
    ]  # fmt: skip


def _stricter_limits() -> list[Step]:
    """Sets consumer limits of a stream, some of which conflict with an existing consumer."""
    config = {"name": "S", "subjects": ["s.>"]}
    limits: list[dict[str, int]] = [
        {"max_ack_pending": 10}, {"max_ack_pending": 2000}, {"max_ack_pending": 1000}, {"max_ack_pending": 999},
        {"inactive_threshold": ONE_S}, {"inactive_threshold": 10 * ONE_S}, {"inactive_threshold": 9 * ONE_S},
        {"max_ack_pending": 10, "inactive_threshold": ONE_S}, {"max_ack_pending": -1}, {},
    ]  # fmt: skip
    return [
        *filled(),
        consume(inactive_threshold=10 * ONE_S),
        *[api("STREAM.UPDATE.S", {**config, "consumer_limits": limit}) for limit in limits],
        consume(inactive_threshold=ONE_S),
        api("STREAM.UPDATE.S", {**config, "consumer_limits": {"inactive_threshold": ONE_S}}),
        consume(inactive_threshold=2 * ONE_S),
        DELETE,
    ]


def _empty_requests() -> list[Step]:
    """Sends payloads of which some count as an empty request."""
    subjects = [
        "INFO", "STREAM.NAMES", "STREAM.INFO.S", "STREAM.DELETE.X", "STREAM.MSG.GET.S", "STREAM.MSG.DELETE.S",
        "CONSUMER.NAMES.S", "CONSUMER.INFO.S.C", "CONSUMER.DELETE.S.X", "CONSUMER.LEADER.STEPDOWN.S.C",
    ]  # fmt: skip
    payloads = [b"{}", b"{ }", b" {} ", b" ", b"null", b"[]", b"1", b'""', b"x", b'{"a":1}']
    asked = [api(subject, payload) for payload in payloads for subject in subjects]
    return [*filled(), consume(), *asked, api("CONSUMER.DELETE.S.C", b"{}"), api("STREAM.DELETE.S", b"{}")]


def _redelivery() -> list[Step]:
    return [
        *filled(),
        Listen("$JS.EVENT.ADVISORY.CONSUMER.>"),
        Listen("$JS.EVENT.METRIC.>"),
        consume(ack_wait=ONE_S // 5, max_deliver=1, sample_freq="100"),
        Fetch(b"2", 2),
        Ack(0),
        Until("$JS.API.CONSUMER.INFO.S.C", "num_ack_pending", 0),
        INFO,
        Ack(1),
        INFO,
        api("STREAM.MSG.DELETE.S", {"seq": 6}),
        consume("B", backoff=[ONE_S // 5, ONE_S // 3], max_deliver=4),
        Fetch(b"1", 1, consumer="S.B"),
        Fetch(
            {"batch": 2, "expires": ONE_S},
            2,
            consumer="S.B",
        ),
        api("CONSUMER.INFO.S.B"),
        consume("D"),
        Fetch(b"3", 3, consumer="S.D"),
        api("STREAM.MSG.DELETE.S", {"seq": 1}),
        Until("$JS.API.CONSUMER.INFO.S.D", "num_ack_pending", 2),
        Ack(-1, "-NAK 200ms"),
        Fetch({"batch": 1, "no_wait": True, "expires": ONE_S}, 1, consumer="S.D"),
        Ack(-1, '-NAK {"delay": 300000000}'),
        Fetch({"batch": 2, "expires": ONE_S}, 2, consumer="S.D"),
        api("CONSUMER.INFO.S.D"),
        DELETE,
    ]


def _retention() -> list[Step]:
    steps: list[Step] = []
    state = api("STREAM.INFO.S")
    for storage in ("file", "memory"):
        steps += [
            *filled(retention="interest", storage=storage),
            state,
            consume("A"), consume("B", filter_subject="s.a"),
            publish("s.a", "1"), publish("s.b", "2"), publish("s.a", "3"), publish("s.x", "4"), state,
            waits(4, "A"), waits(2, "B"),
            Fetch(NO_WAIT, consumer="S.A"), Fetch(NO_WAIT, consumer="S.B"), Ack(0), state, Ack(1), state,
            Ack(4), state, api("CONSUMER.DELETE.S.B"), state, api("CONSUMER.DELETE.S.A"), state,
            DELETE,
            *filled(retention="workqueue", storage=storage),
            consume("A", ack_policy="none", max_ack_pending=None), consume("A", ack_policy="all"),
            consume("A", deliver_policy="new"), consume("A", filter_subject="s.a"), consume("B"),
            consume("B", filter_subject="s.*"), consume("B", filter_subject="s.b"), state,
            consume("B", filter_subject="s.a"),
            Fetch(NO_WAIT, consumer="S.A"), Ack(6), state, Ack(7, "+TERM"), state,
            Fetch(NO_WAIT, consumer="S.B"), api("STREAM.PURGE.S"), state, api("CONSUMER.INFO.S.A"),
            api("CONSUMER.INFO.S.B"), publish("s.b", "x"),
            waits(1, "B"), Fetch(NO_WAIT, consumer="S.B"),
            DELETE,
        ]  # fmt: skip
    return steps


def _changes() -> list[Step]:
    return [
        *filled(),
        consume(),
        Fetch(b"3", 3), Ack(0),
        api("STREAM.PURGE.S", {"seq": 4}), INFO,
        api("STREAM.PURGE.S", {"filter": "s.b"}), INFO,
        publish("s.a", "7"), publish("s.b", "8"), waits(4), Fetch(NO_WAIT), INFO, api("STREAM.PURGE.S"), INFO,
        publish("s.a", "9"), waits(1), Fetch(NO_WAIT), INFO,
        Ask("$JS.API.CONSUMER.RESET.S.C"), INFO, Fetch(NO_WAIT), Ask("$JS.API.CONSUMER.RESET.S.C", {"seq": 9}), INFO,
        Fetch(NO_WAIT), Ask("$JS.API.CONSUMER.RESET.S.C", {"seq": "x"}),
        consume("N", deliver_policy="new"), Ask("$JS.API.CONSUMER.RESET.S.N", {"seq": 1}),
        consume("Q", deliver_policy="by_start_sequence", opt_start_seq=5),
        Ask("$JS.API.CONSUMER.RESET.S.Q", {"seq": 1}),
        Ask("$JS.API.CONSUMER.RESET.S.Q", {"seq": 7}),
        *[consume(**change) for change in (
            {"deliver_policy": "new"}, {"ack_policy": "none"}, {"replay_policy": "original"}, {"mem_storage": True},
            {"opt_start_seq": 5, "deliver_policy": "by_start_sequence"}, {"max_waiting": 5},
            {"deliver_subject": "out"}, {"description": "x"}, {"ack_wait": ONE_S}, {"max_deliver": 7},
            {"max_ack_pending": 9},
            {"filter_subject": "s.a"}, {"filter_subjects": ["s.a", "s.b"]}, {"headers_only": True},
            {"sample_freq": "50"}, {"inactive_threshold": ONE_S * 100}, {"metadata": {"k": "v"}},
            {"pause_until": "2099-01-01T00:00:00Z"},
            {"backoff": [ONE_S]}, {"max_batch": 4},
        )],
        api("CONSUMER.PAUSE.S.C", {"pause_until": "2099-01-01T00:00:00Z"}), INFO,
        Fetch({"batch": 1, "expires": ONE_S // 5}), api("CONSUMER.PAUSE.S.C"), INFO,
        api("CONSUMER.PAUSE.S.C", {"pause_until": "2001-01-01T00:00:00Z"}), api("CONSUMER.PAUSE.S.NOPE"),
        api("CONSUMER.PAUSE.S.C", {"foo": 1}), api("CONSUMER.UNPIN.S.C", {"group": "a"}),
        api("CONSUMER.UNPIN.S.C", b""), api("CONSUMER.UNPIN.S.C", {}), api("CONSUMER.UNPIN.S.C", {"group": "a b"}),
        DELETE,
    ]  # fmt: skip


def _groups() -> list[Step]:
    return [
        *filled(),
        Listen("$JS.EVENT.ADVISORY.CONSUMER.>"),
        consume("O", priority_policy="overflow", priority_groups=["a"]),
        Fetch({"batch": 1, "no_wait": True}, consumer="S.O"),
        Fetch({"batch": 1, "no_wait": True, "group": "b"}, consumer="S.O"),
        Fetch({"batch": 1, "no_wait": True, "group": "a"}, 1, consumer="S.O"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a", "min_pending": 100}, consumer="S.O"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a", "min_pending": 2}, 1, consumer="S.O"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a", "min_ack_pending": 2}, 1, consumer="S.O"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a", "min_ack_pending": 20}, consumer="S.O"),
        consume("P", priority_policy="pinned_client", priority_groups=["a"], priority_timeout=ONE_S * 60),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a"}, 1, consumer="S.P"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a"}, consumer="S.P"),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a", "id": "nope"}, consumer="S.P"),
        api("CONSUMER.INFO.S.P"),
        api("CONSUMER.UNPIN.S.P", {"group": "b"}),
        api("CONSUMER.UNPIN.S.P", {"group": "a"}),
        Fetch({"batch": 1, "expires": ONE_S // 5, "group": "a"}, 1, consumer="S.P"),
        consume("R", priority_policy="prioritized", priority_groups=["a"]),
        Fetch({"batch": 1, "no_wait": True, "group": "a", "priority": 3}, 1, consumer="S.R"),
        Fetch({"batch": 1, "no_wait": True, "group": "a", "priority": 10}, consumer="S.R"),
        DELETE,
    ]


def _pushes() -> list[Step]:
    return [
        *filled(),
        Listen("out"),
        consume(deliver_subject="out"),
        Until("$JS.API.CONSUMER.INFO.S.C", "num_ack_pending", 6),
        Ack(0), Ack(2), INFO, consume(deliver_subject="other"),
        consume("N", deliver_subject="nobody"), api("CONSUMER.INFO.S.N"),
        Listen("all"), consume("A", deliver_subject="all", ack_policy="none", max_ack_pending=None, headers_only=True),
        Until("$JS.API.CONSUMER.INFO.S.A", "delivered.consumer_seq", 6),
        Listen("last"),
        consume("L", deliver_subject="last", ack_policy="none", deliver_policy="last_per_subject",
                filter_subject="s.>"),
        Until("$JS.API.CONSUMER.INFO.S.L", "delivered.consumer_seq", 3),
        DELETE,
    ]  # fmt: skip


def _removals(storage: str) -> list[Step]:
    def case(*removal: Step, **config: Any) -> list[Step]:
        """Removes messages while a consumer has two unacknowledged messages, its limit."""
        stream = {"storage": storage, "allow_rollup_hdrs": True, "allow_atomic": True, **config}
        start = [*filled(**stream), consume(max_ack_pending=2, ack_wait=600 * ONE_S), Fetch(b"2", 2), INFO]
        return [*start, *removal, INFO, DELETE]

    batch = [
        publish("s.x", "7", Nats_Batch_Id="b", Nats_Batch_Sequence="1", Nats_Rollup="all"),
        publish("s.y", "8", Nats_Batch_Id="b", Nats_Batch_Sequence="2", Nats_Batch_Commit="1"),
    ]
    update = api("STREAM.UPDATE.S", {
        "name": "S", "subjects": ["s.>"], "storage": storage, "allow_rollup_hdrs": True, "allow_atomic": True,
        "max_msgs": 3,
    })  # fmt: skip
    return [
        *case(publish("s.x", "7", Nats_Rollup="all"), Fetch(b"1", 1)),
        *case(*batch, Fetch(b"2", 2)),
        *case(api("STREAM.PURGE.S"), publish("s.x", "7"), Fetch(b"1", 1)),
        *case(api("STREAM.MSG.DELETE.S", {"seq": 1}), Until("$JS.API.CONSUMER.INFO.S.C", "num_ack_pending", 1),
              Fetch(b"1", 1)),
        *case(update, Until("$JS.API.CONSUMER.INFO.S.C", "num_ack_pending", 0), Fetch(b"2", 2)),
    ]  # fmt: skip


def _deletions(storage: str) -> list[Step]:
    delete = [
        api("STREAM.MSG.DELETE.S", {"seq": sequence, "no_erase": no_erase})
        for sequence in (0, 1, 2, 4, 4, 5, 7, 100)
        for no_erase in (False, True)
    ]
    return [
        create("S", subjects=["s.>"], storage=storage), *delete, *[publish("s.a", "x") for _ in range(6)],
        api("STREAM.PURGE.S", {"seq": 3}), *delete, api("STREAM.PURGE.S"), *delete, DELETE,
    ]  # fmt: skip


def _unacknowledged() -> list[Step]:
    verbs = [b"+ACK", b"-NAK", b"+WPI", b"+TERM", b"+NXT 1", b"nonsense", b""]
    return [
        *filled(),
        consume(ack_policy="none"),
        Fetch(b"1", 1),
        *[Ask(f"$JS.ACK.S.C.1.{sequence}.1.1.5", verb) for sequence in (1, 99) for verb in verbs],
        consume("E"),
        Fetch(b"2", 2, consumer="S.E"),
        api("CONSUMER.RESET.S.E", {"seq": 2}),
        Fetch(b"1", 1, consumer="S.E"),
        # This reply subject is from before the reset. Its consumer sequence is now that of the next delivery.
        Ack(2, "-NAK"),
        Fetch(b"1", 1, consumer="S.E"),
        DELETE,
    ]


def _deliver_groups() -> list[Step]:
    def push(name: str, group: str = "") -> list[Step]:
        to = {"deliver_subject": f"to.{name}", **({"deliver_group": group} if group else {})}
        moved = {**to, "deliver_subject": f"moved.{name}"}
        return [consume(name, **to), api(f"CONSUMER.INFO.S.{name}"), consume(name, **moved)]

    def taken(name: str) -> Step:
        return Until(f"$JS.API.CONSUMER.INFO.S.{name}", "num_ack_pending", 6)

    return [
        *filled(),
        Listen("to.A"), *push("A", "g"),
        Listen("to.B", "other"), *push("B", "g"),
        Listen("*.C", "g"), *push("C", "g"),
        Listen("to.D", "g"), *push("D", "g"), taken("D"),
        Listen("to.E", "g"), *push("E"),
        Listen("*.F"), *push("F"),
        *push("G"), Listen("moved.G"), taken("G"),
        *push("H", "g"), Listen("moved.H", "g"), taken("H"),
        *[api(f"CONSUMER.INFO.S.{name}") for name in "ABCDEFGH"],
        DELETE,
    ]  # fmt: skip


CONSUMER_SCRIPTS: dict[str, list[Step]] = {
    "configs": _configs(),
    "subjects": _subjects(),
    "pulls": _pulls(),
    "stricter_limits": _stricter_limits(),
    "empty_requests": _empty_requests(),
    "redelivery": _redelivery(),
    "retention": _retention(),
    "changes": _changes(),
    "groups": _groups(),
    "pushes": _pushes(),
    "removals_memory": _removals("memory"),
    "removals_file": _removals("file"),
    "deletions_memory": _deletions("memory"),
    "deletions_file": _deletions("file"),
    "unacknowledged": _unacknowledged(),
    "deliver_groups": _deliver_groups(),
}
