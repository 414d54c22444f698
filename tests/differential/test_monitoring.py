"""The monitoring port: status, fields, types, errors and counters, compared with the real server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import wait_for
from tests.support.wire import Wire

from .normalise import shape
from .servers import Programs, Two, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.process import ServerProcess

OWN_FIELD = "stonechat"
"""Prefix of our own fields."""

JSON_PATHS = [
    "/varz",
    "/connz",
    "/connz?subs=1",
    "/connz?subs=detail",
    "/connz?auth=1",
    "/connz?limit=1",
    "/connz?offset=1&limit=1",
    "/connz?offset=10",
    "/connz?state=open",
    "/connz?state=any",
    "/connz?state=closed",
    "/connz?state=closed&sort=stop",
    "/connz?state=closed&sort=reason&subs=1",
    "/connz?sort=bytes_to",
    "/connz?cid=999999",
    "/connz?acc=$G",
    "/connz?user=nobody",
    "/subsz",
    "/subscriptionsz",
    "/subsz?test=foo",
    "/subsz?subs=1&test=foo.bar",
    "/healthz",
    "/healthz?js-server-only=1",
    "/healthz?js-enabled-only=1",
    "/healthz?details=1",
    "/healthz?account=nobody",
    "/healthz?stream=s",
    "/healthz?account=nobody&consumer=c",
    "/healthz?consumer=c",
    "/healthz?consumer=c&details=1",
    "/healthz?stream=s&details=1",
    "/healthz?account=nobody&consumer=c&details=1",
]

REFUSED_PATHS = [
    "/connz?subs=maybe",
    "/connz?auth=2",
    "/connz?limit=x",
    "/connz?offset=x",
    "/connz?cid=-1",
    "/connz?state=bad",
    "/connz?sort=xx",
    "/connz?sort=stop",
    "/connz?sort=reason",
    "/subsz?subs=maybe",
    "/subsz?limit=x",
    "/subsz?test=foo.*",
    "/healthz?details=maybe",
    "/nothing",
]


class Clients:
    """The same three clients on a server: a named subscriber, a publisher, and a closed one."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.wires = [self._connect("subscriber"), self._connect("publisher"), self._connect("gone")]
        subscriber, publisher, gone = self.wires
        subscriber.send(b"SUB foo.* 1\r\nSUB foo.bar workers 2\r\nUNSUB 2 5\r\nSUB foo 3\r\n")
        gone.send(b"SUB foo.gone 1\r\n")
        subscriber.sync()
        gone.sync()
        publisher.send(b"PUB foo.bar 5\r\nhello\r\nPUB foo 2\r\nhi\r\nPUB nobody 3\r\nabc\r\n")
        publisher.send(b"HPUB foo reply 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
        publisher.sync()
        subscriber.sync()
        gone.close()
        wait_for(lambda: server.get_json("/connz?state=closed")["total"] == 1, "the closed connection in /connz")

    def _connect(self, name: str) -> Wire:
        wire = Wire(self.server.port)
        options = {"verbose": False, "headers": True, "name": name, "lang": "python", "version": "1.2.3", "protocol": 1}
        wire.send_line("CONNECT " + json.dumps(options))
        wire.sync()
        return wire

    def close(self) -> None:
        """Closes the connections."""
        for wire in self.wires:
            wire.close()


@pytest.fixture(scope="module")
def servers(programs: Programs) -> Iterator[Two]:
    """Both servers with the same clients and the same traffic."""
    with running(programs) as two:
        clients = [Clients(server) for server in two]
        yield two
        for each in clients:
            each.close()


def without_own_fields(value: Any) -> Any:
    """Returns the value without our own fields."""
    if isinstance(value, dict):
        return {k: without_own_fields(v) for k, v in value.items() if not k.startswith(OWN_FIELD)}
    return [without_own_fields(v) for v in value] if isinstance(value, list) else value


def connections_in_order(value: Any) -> Any:
    """Sorts connections by their names, since their order is not defined if they have equal sort keys."""
    if isinstance(value, dict) and isinstance(value.get("connections"), list):
        value["connections"].sort(key=lambda connection: connection.get("name", ""))
    return value


@pytest.mark.parametrize("path", JSON_PATHS)
def test_json(servers: Two, path: str) -> None:
    """Status, content type, field names, their order and types are the same."""
    expected, got = (server.get(path) for server in servers)
    assert got[:2] == expected[:2]
    wanted, actual = (connections_in_order(json.loads(body)) for body in (expected[2], got[2]))
    wanted, actual = shape(wanted), without_own_fields(shape(actual))
    if path == "/varz":
        # Only builds that know their commit show it. The request counts have their own test.
        for answer in (wanted, actual):
            answer.pop("git_commit", None)
            del answer["http_req_stats"]
    assert actual == wanted
    assert json.dumps(actual) == json.dumps(wanted), "the order of fields differs"


@pytest.mark.parametrize("path", REFUSED_PATHS)
def test_refused(servers: Two, path: str) -> None:
    """Bad parameters get the same status and the same text, except for details of Go's number parser."""
    expected, got = (server.get(path) for server in servers)
    assert got[0] == expected[0]
    assert re.sub(r"strconv\..*", "", got[2], flags=re.DOTALL) == re.sub(
        r"strconv\..*", "", expected[2], flags=re.DOTALL
    )


def test_layout(servers: Two) -> None:
    """Most answers are indented by two blanks, /healthz is compact."""
    for server in servers:
        varz = server.get("/varz")[2]
        assert varz.startswith('{\n  "server_id": "N')
        assert server.get("/healthz")[2].strip() == '{"status":"ok"}'


def test_index(servers: Two) -> None:
    """The index is HTML and links to the endpoints."""
    for server in servers:
        status, kind, body = server.get("/")
        assert status == 200
        assert kind.startswith("text/html")
        for path in ("varz", "connz", "subsz", "healthz"):
            assert path in body


VARZ_COUNTERS = """
connections total_connections routes remotes leafnodes in_msgs out_msgs in_bytes out_bytes in_client_msgs
out_client_msgs in_client_bytes out_client_bytes slow_consumers stale_connections max_connections ping_interval ping_max
max_control_line max_payload max_pending auth_timeout tls_timeout write_deadline http_base_path https_port
slow_consumer_stats proto host http_host
"""


def test_varz_values(servers: Two) -> None:
    """Counters and limits have the same values after the same traffic."""
    expected, got = (server.get_json("/varz") for server in servers)
    for key in VARZ_COUNTERS.split():
        assert got[key] == expected[key], key


CONNECTION_VALUES = """
kind type ip pending_bytes in_msgs out_msgs in_bytes out_bytes subscriptions name lang version
"""


@pytest.mark.parametrize("state", ["open", "closed"])
def test_connz_values(servers: Two, state: str) -> None:
    """Each connection shows the same counters and names; a closed one its reason."""
    expected, got = (connections_in_order(server.get_json(f"/connz?state={state}&subs=1")) for server in servers)
    for key in ("num_connections", "total", "offset", "limit"):
        assert got[key] == expected[key], key
    for wanted, actual in zip(expected["connections"], got["connections"], strict=True):
        # A ping to the closed client may have been pending.
        chance = {"pending_bytes"} if state == "closed" else set()
        for key in {*CONNECTION_VALUES.split(), "reason"} - chance:
            assert actual.get(key) == wanted.get(key), (wanted["name"], key)
        assert sorted(actual.get("subscriptions_list", [])) == sorted(wanted.get("subscriptions_list", []))


@pytest.mark.parametrize(
    "query", ["limit=1&offset=1", "cid=999999", "user=nobody", "mqtt_client=nobody", "state=any&user=nobody"]
)
def test_connz_counts(servers: Two, query: str) -> None:
    """The numbers of shown and of all connections are the same."""
    expected, got = (server.get_json(f"/connz?{query}") for server in servers)
    for key in ("num_connections", "total", "offset", "limit"):
        assert got[key] == expected[key], key


@pytest.mark.parametrize("key", ["cid", "start", "uptime", "msgs_to", "msgs_from", "subs"])
def test_connz_order(servers: Two, key: str) -> None:
    """Connections with different sort keys are in the same order."""
    expected, got = (
        [connection["name"] for connection in server.get_json(f"/connz?sort={key}")["connections"]]
        for server in servers
    )
    assert got == expected


def test_who_was_refused(programs: Programs) -> None:
    """A connection with a refused login shows the user name that it gave."""
    with running(programs, "debug: true\nauthorization { user: ann, password: x }") as two:
        for server in two:
            with Wire(server.port) as wire:
                wire.send_line('CONNECT {"user":"eve","pass":"y"}')
                wire.read_to_end()
            server.wait_for_log_count("authentication error", 1)
            server.wait_for_log_count("Client connection closed", 1)
            closed = server.get_json("/connz?state=closed&auth=1&user=eve")["connections"]
            assert [(c["authorized_user"], c["reason"]) for c in closed] == [("eve", "Authentication Failure")]


def test_subsz_test(servers: Two) -> None:
    """`test=SUBJECT` lists the subscriptions that match the subject, with their counts of received messages."""

    def matches(server: ServerProcess) -> list[tuple[Any, ...]]:
        listed = server.get_json("/subsz?subs=1&test=foo.bar")["subscriptions_list"]
        return sorted((s["subject"], s.get("qgroup"), s["sid"], s["msgs"], s.get("max"), s["account"]) for s in listed)

    expected, got = (matches(server) for server in servers)
    assert [match[:3] for match in expected] == [("foo.*", None, "1"), ("foo.bar", "workers", "2")]
    assert got == expected


def test_subsz_limit(servers: Two) -> None:
    """A limit shortens the list but not the total; which subscriptions are left out is not defined."""

    def cut(server: ServerProcess) -> tuple[Any, ...]:
        answer = server.get_json("/subsz?subs=1&test=foo.bar&limit=1")
        return answer["total"], answer["limit"], answer["offset"], len(answer["subscriptions_list"])

    expected, got = (cut(server) for server in servers)
    assert expected[3] == 1
    assert got == expected


def test_requests_are_counted(programs: Programs) -> None:
    """/varz counts requests by path, including its own."""
    with running(programs) as two:
        for server in two:
            for path in ("/varz", "/connz", "/connz?subs=1", "/healthz", "/subsz", "/nothing"):
                server.get(path)
        expected, got = (server.get_json("/varz")["http_req_stats"] for server in two)
    assert {k: v for k, v in got.items() if v} == {k: v for k, v in expected.items() if v}


def test_options_show(programs: Programs) -> None:
    """/varz shows the options of the configuration."""
    config = """
    server_name: parrot
    max_payload: 64k
    max_connections: 100
    max_subscriptions: 50
    max_control_line: 2048
    max_pending: 1MB
    ping_interval: "30s"
    ping_max: 5
    write_deadline: "3s"
    authorization { user: ann, password: x, timeout: 5 }
    """
    with running(programs, config) as two:
        expected, got = (server.get_json("/varz") for server in two)
    keys = [*VARZ_COUNTERS.split(), "server_name", "auth_required", "max_subscriptions"]
    for key in keys:
        assert got.get(key) == expected.get(key), key
