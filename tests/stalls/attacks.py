"""Attacks: requests of one client that are expensive to answer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .client import Client, consumer, message, request, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ANSWER = rb"MSG _I\.0"
BATCH_END = rb"NATS/1\.0 [24]0"
MESSAGES = 300_000
DEPTH = 4 << 20


@dataclass(frozen=True)
class Attack:
    """A preparation, and requests that are then repeated for the whole attack."""

    name: str
    prepare: Callable[[Client], None] = lambda _: None
    requests: Callable[[], Iterable[bytes]] | None = None
    """Pieces to send. A piece may have several requests, if `answer` only matches the answer of the last one."""
    path: str = ""
    """Path of the monitoring port, requested instead of `requests`."""
    window: int = 2
    """Largest number of outstanding answers."""
    count: int = 1
    """Number of answers to each piece of `requests`."""
    answer: bytes = ANSWER
    is_quick: bool = True
    """Whether the attack is part of `make test`."""

    def forever(self) -> Iterator[bytes]:
        """Returns the requests, repeated without end."""
        return itertools.cycle(self.requests()) if self.requests else iter(())


def _subjects(count: int, form: str = "s.{}") -> list[str]:
    return [form.format(number) for number in range(count)]


def _fill(subjects: Iterable[str], **config: Any) -> Callable[[Client], None]:
    """Returns a preparation that creates the stream `S` with a message on each subject."""

    def prepare(client: Client) -> None:
        client.ask(stream("S", **config))
        client.store(subjects, "S")

    return prepare


def _many_subjects(client: Client) -> None:
    _fill(f"s.{number}.x" for number in range(MESSAGES))(client)


def _many_messages(client: Client) -> None:
    _fill(f"s.{number % 1000}.x" for number in range(MESSAGES))(client)


def _streams(count: int, subjects: int, **config: Any) -> Callable[[Client], None]:
    def prepare(client: Client) -> None:
        for number in range(count):
            of = [f"t.{number}.{i}" for i in range(subjects)]
            client.ask(stream(f"T{number}", subjects=of, **config))

    return prepare


def _chain(client: Client) -> None:
    client.ask(stream("T0"))
    for number in range(1, 2000):
        sources = [{"name": f"T{number - 1}"}]
        client.ask(stream(f"T{number}", subjects=[], sources=sources))


def _consumers(count: int, filters: int = 0, **config: Any) -> Callable[[Client], None]:
    def prepare(client: Client) -> None:
        client.ask(stream("S", max_consumers=count + 1))
        of = {"filter_subjects": _subjects(filters)} if filters else {}
        client.ask(*(consumer("S", f"C{number}", **of, **config) for number in range(count)))

    return prepare


def _ten_thousand_consumers() -> Iterable[bytes]:
    created = [consumer("S", f"C{number}") for number in range(10_000)]
    return [stream("S", max_consumers=10_000), *created, request("STREAM.DELETE.S")]


def _create_and_delete(config: dict[str, Any]) -> Callable[[], Iterable[bytes]]:
    return lambda: [stream("S", **config), request("STREAM.DELETE.S")]


def _create_and_delete_consumer(config: dict[str, Any], of: str = "S") -> Callable[[], Iterable[bytes]]:
    return lambda: [consumer(of, "D", **config), request(f"CONSUMER.DELETE.{of}.D")]


def _lowered() -> Iterable[bytes]:
    config = {"storage": "memory", "num_replicas": 1, "allow_direct": True, "subjects": ["s.>"], "name": "S"}
    return [request("STREAM.UPDATE.S", {**config, "max_msgs_per_subject": 300 - n}) for n in range(299)]


def _gaps(client: Client) -> None:
    _many_messages(client)
    client.ask(*(request("STREAM.PURGE.S", {"filter": f"s.{number}.x"}) for number in range(0, 1000, 2)))


def _interest(client: Client) -> None:
    client.ask(stream("S", retention="interest"), consumer("S", "K"))
    client.store((f"s.{number % 1000}.x" for number in range(MESSAGES)), "S")


def _refill() -> Iterable[bytes]:
    block = b"".join(message(f"s.{number % 100}.x", b"x") for number in range(20_000))
    return [block + request("STREAM.PURGE.S", {"filter": "s.1.*"}), request("STREAM.PURGE.S", {"filter": "s.*.x"})]


def _subscribed(client: Client) -> None:
    lines = b"".join(b"SUB s.%d.some.long.subject.of.a.subscription %d\r\n" % (n, n + 2) for n in range(100_000))
    client.wire.send(lines)
    client.wire.sync()


def _pulls() -> Iterable[bytes]:
    body = b'{"batch":1,"expires":60000000000}'
    pull = message("$JS.API.CONSUMER.MSG.NEXT.S.C0", body, "_I.1")
    return [pull * 500 + request("STREAM.NAMES")]


def _unmatched_pulls() -> Iterable[bytes]:
    pull = message("$JS.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":1,"no_wait":true}', "_I.1")
    return [consumer("S", "D", filter_subject="s.*.y"), pull, request("CONSUMER.DELETE.S.D")]


def _conditions() -> Iterable[bytes]:
    name = b"Nats-Expected-Last-Subject-Sequence"
    block = b"NATS/1.0\r\n%s: 7\r\n%s-Subject: s.>\r\n\r\n" % (name, name)
    return [message("s.1.x", b"x", "_I.0", block)]


def _unacknowledged(client: Client) -> None:
    _many_messages(client)
    client.ask(consumer("S", "C", max_ack_pending=-1, ack_wait=3_600_000_000_000))
    client.wire.send(message("$JS.API.CONSUMER.MSG.NEXT.S.C", b'{"batch":%d}' % MESSAGES, "_I.1"))
    client.wire.sync()


def _waits() -> Iterable[bytes]:
    return [
        consumer("S", "C", max_ack_pending=-1, ack_wait=3_600_000_000_000 + number, action="update")
        for number in range(100)
    ]


ATTACKS = [
    Attack("nothing", is_quick=False),
    Attack("20,000 subjects", requests=_create_and_delete({"subjects": _subjects(20_000)})),
    Attack(
        "20,000 wildcards", requests=_create_and_delete({"subjects": _subjects(20_000, "s.*.{}.*")}), is_quick=False
    ),
    Attack(
        "20,000 filters",
        _fill(["s.1"]),
        _create_and_delete_consumer({"filter_subjects": _subjects(20_000)}),
    ),
    Attack(
        "20,000 filters over 300,000 subjects",
        _many_subjects,
        _create_and_delete_consumer({"filter_subjects": _subjects(20_000, "s.{}.>")}),
        is_quick=False,
    ),
    Attack(
        "4,000 sources",
        requests=_create_and_delete({"subjects": [], "sources": [{"name": f"X{n}"} for n in range(4000)]}),
    ),
    Attack(
        "sources in a chain",
        _chain,
        lambda: [stream("U", subjects=[], sources=[{"name": "T1999"}]), request("STREAM.DELETE.U")],
    ),
    Attack(
        "multi-get with 80,000 filters",
        _fill(["s.1"]),
        lambda: [request("DIRECT.GET.S", {"multi_last": _subjects(80_000)})],
        answer=BATCH_END,
    ),
    Attack(
        "multi_last up to a sequence",
        _many_messages,
        lambda: [request("DIRECT.GET.S", {"multi_last": ["s.>"], "up_to_seq": 150_000})],
    ),
    Attack(
        "multi_last over 300,000 subjects",
        _many_subjects,
        lambda: [request("DIRECT.GET.S", {"multi_last": ["s.>"], "up_to_seq": 150_000})],
        is_quick=False,
    ),
    Attack(
        "batches of 1,000",
        _many_messages,
        lambda: [request("DIRECT.GET.S", {"seq": 1, "next_by_subj": "s.>", "batch": 1000})],
        answer=BATCH_END,
        window=64,
    ),
    Attack(
        "batches that match nothing",
        _many_messages,
        lambda: [request("DIRECT.GET.S", {"seq": 1, "next_by_subj": "s.*.y", "batch": 1000})],
        answer=BATCH_END,
        window=64,
        is_quick=False,
    ),
    Attack(
        "a get that matches nothing",
        _many_subjects,
        lambda: [request("DIRECT.GET.S", {"seq": 1, "next_by_subj": "s.*.y"})],
        answer=BATCH_END,
        window=64,
        is_quick=False,
    ),
    Attack(
        "a get of the last that matches",
        _many_subjects,
        lambda: [request("STREAM.MSG.GET.S", {"last_by_subj": "s.*.x"})],
        window=64,
        is_quick=False,
    ),
    Attack(
        "consumers with a filter",
        _many_subjects,
        _create_and_delete_consumer({"filter_subject": "s.*.y"}),
        window=64,
        is_quick=False,
    ),
    Attack(
        "consumers from the last",
        _many_subjects,
        _create_and_delete_consumer({"filter_subject": "s.*.x", "deliver_policy": "last"}),
        window=64,
        is_quick=False,
    ),
    Attack(
        "consumers from the last of each subject",
        _many_subjects,
        _create_and_delete_consumer({"filter_subject": "s.>", "deliver_policy": "last_per_subject"}),
        is_quick=False,
    ),
    Attack("pulls that match nothing", _many_messages, _unmatched_pulls, window=32),
    Attack("pulls that wait", _consumers(1), _pulls, is_quick=False),
    Attack("9,000 lists", _streams(300, 1), lambda: [request("STREAM.LIST") * 9000], window=9000, count=9000),
    Attack(
        "a flood of lists", _streams(300, 1), lambda: [request("STREAM.LIST") * 1000], window=1 << 30, is_quick=False
    ),
    Attack("lists of large configurations", _streams(40, 2500), lambda: [request("STREAM.LIST")]),
    Attack(
        "names by subject",
        _streams(40, 2500),
        lambda: [request("STREAM.NAMES", {"subject": "t.*.x"})],
        window=64,
    ),
    Attack(
        "info of a large configuration",
        _streams(1, 20_000),
        lambda: [request("STREAM.INFO.T0")],
        window=8,
        is_quick=False,
    ),
    Attack("info of 300,000 subjects", _many_subjects, lambda: [request("STREAM.INFO.S", {"subjects_filter": ">"})]),
    Attack(
        "info of 150,000 gaps",
        _gaps,
        lambda: [request("STREAM.INFO.S", {"deleted_details": True})],
        window=8,
        is_quick=False,
    ),
    Attack("purges", _fill(["s.1.x"]), _refill),
    Attack(
        "purges that match nothing",
        _many_subjects,
        lambda: [request("STREAM.PURGE.S", {"filter": "s.*.y"})],
        window=16,
        is_quick=False,
    ),
    Attack("max_msgs_per_subject lowered", _many_messages, _lowered),
    Attack("10,000 consumers and their stream", requests=_ten_thousand_consumers, window=64),
    Attack("one of 10,000 consumers", _consumers(10_000), _create_and_delete_consumer({}), window=64, is_quick=False),
    Attack(
        "list of 10,000 consumers", _consumers(10_000), lambda: [request("CONSUMER.LIST.S")], window=16, is_quick=False
    ),
    Attack("names of 10,000 consumers", _consumers(10_000), lambda: [request("CONSUMER.NAMES.S")], window=64),
    Attack(
        "list of consumers with 5,000 filters",
        _consumers(50, 5000),
        lambda: [request("CONSUMER.LIST.S")],
        is_quick=False,
    ),
    Attack(
        "a consumer of an interest stream",
        _interest,
        _create_and_delete_consumer({"deliver_policy": "new"}),
        is_quick=False,
    ),
    Attack("ack_wait of 300,000 messages", _unacknowledged, _waits, is_quick=False),
    Attack("conditions with wildcards", _many_subjects, _conditions, window=64, is_quick=False),
    Attack("nested arrays", requests=lambda: [request("STREAM.CREATE.X", b"[" * DEPTH + b"]" * DEPTH)]),
    Attack(
        "many empty objects",
        requests=lambda: [request("STREAM.NAMES", b'{"a":[' + b"{}," * (DEPTH // 2) + b"{}]}")],
        is_quick=False,
    ),
    Attack(
        "a long string",
        requests=lambda: [request("STREAM.INFO.X", b'{"subjects_filter":"' + rb"\u0041" * (DEPTH // 2) + b'"}')],
        is_quick=False,
    ),
    Attack(
        "many fields",
        requests=lambda: [request("STREAM.PURGE.X", b"{" + b'"a":1,' * (DEPTH // 2) + b'"a":1}')],
        is_quick=False,
    ),
    Attack(
        "a delete with a body",
        requests=lambda: [request("STREAM.DELETE.X", b'{"a":[' + b"{}," * (DEPTH // 2) + b"{}]}")],
    ),
    Attack("/jsz of many consumers", _consumers(10_000), path="/jsz?streams=1&consumers=1&config=1"),
    Attack(
        "/jsz of large configurations", _streams(40, 2500), path="/jsz?streams=1&consumers=1&config=1", is_quick=False
    ),
    Attack("/connz of many subscriptions", _subscribed, path="/connz?subs=1"),
    Attack("/subsz of many subscriptions", _subscribed, path="/subsz?subs=1&limit=1000000"),
    Attack("/healthz", path="/healthz", is_quick=False),
]
