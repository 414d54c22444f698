"""Connections of nats-py: logins, permissions, reconnection, lame duck mode."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest

from tests.support.waiting import eventually

from .helpers import Events, barrier, client, close_reasons, received

if TYPE_CHECKING:
    from tests.support.process import ServerProcess

    from .conftest import StartServer

pytestmark = pytest.mark.asyncio

REFUSED = (nats.errors.Error, OSError)
"""Exceptions of nats-py for a refused login: the error of the server, or that of a closed socket."""

USERS = """
authorization {
  users = [
    {user: ann, password: a}
    {user: bob, password: b, permissions: {publish: "bob.>", subscribe: ["bob.>", "_INBOX.>"]}}
  ]
}
"""


async def test_what_the_server_says_of_itself(server: ServerProcess) -> None:
    """The client reads version, ids and limits from INFO."""
    async with client(server) as nc:
        version = nc.connected_server_version
        assert (version.major, version.minor) == (2, 15)
        assert nc.client_id is not None
        assert nc.client_id > 0
        assert str(nc.client_ip) == "127.0.0.1"
        assert nc.max_payload == 1024 * 1024
        assert nc.discovered_servers == []
        assert await nc.rtt() > 0


async def test_name_in_connz(server: ServerProcess) -> None:
    """The name of a connection shows in monitoring."""
    async with client(server, name="worker 7"):
        (connection,) = server.get_json("/connz")["connections"]
        assert connection["name"] == "worker 7"
        assert connection["lang"] == "python3"


@pytest.mark.parametrize(
    ("config", "good", "bad"),
    [
        (
            "authorization { user: ann, password: a }",
            {"user": "ann", "password": "a"},
            {"user": "ann", "password": "x"},
        ),
        ("authorization { user: ann, password: a }", {"user": "ann", "password": "a"}, {}),
        ("authorization { token: t }", {"token": "t"}, {"token": "x"}),
        ("authorization { token: t }", {"token": "t"}, {}),
        (USERS, {"user": "bob", "password": "b"}, {"user": "bob", "password": "a"}),
        (USERS, {"user": "ann", "password": "a"}, {"user": "zoe", "password": "a"}),
        (
            # bcrypt of "s3cret", cost 4
            'authorization { user: ann, password: "$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG" }',
            {"user": "ann", "password": "s3cret"},
            {"user": "ann", "password": "secret"},
        ),
    ],
)
async def test_logins(start_server: StartServer, config: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    """The right credentials are accepted, others are refused."""
    server = start_server(config)
    async with client(server, **good) as nc:
        await barrier(nc)
    with pytest.raises(REFUSED):
        await nats.connect(server.url, allow_reconnect=False, **bad)
    await eventually(lambda: "Authentication Failure" in close_reasons(server), "the refusal")


async def test_credentials_in_the_url(start_server: StartServer) -> None:
    """Credentials may be part of the URL."""
    server = start_server(USERS)
    nc = await nats.connect(server.url.replace("nats://", "nats://bob:b@"))
    await barrier(nc)
    await nc.close()


async def test_flags_for_logins(start_server: StartServer) -> None:
    """--user, --pass and --auth have the same effect as in the configuration file."""
    async with client(start_server(args=["--user", "ann", "--pass", "a"]), user="ann", password="a") as nc:
        await barrier(nc)
    async with client(start_server(args=["--auth", "t"]), token="t") as nc:
        await barrier(nc)


async def test_permissions(start_server: StartServer) -> None:
    """Forbidden operations are refused with an error, and the connection stays open."""
    events = Events()
    server = start_server(USERS)
    async with client(server, events, user="bob", password="b") as bob, client(server, user="ann", password="a") as ann:
        everything = await ann.subscribe(">")
        await barrier(ann)
        own = await bob.subscribe("bob.in")
        await bob.subscribe("ann.in")
        await bob.publish("ann.in", b"no")
        await bob.publish("bob.in", b"yes")
        await barrier(bob)
        assert await received(own, 1) == [b"yes"]
        assert await received(everything, 1) == [b"yes"]
        await eventually(lambda: len(events.errors) == 2, "two errors")
        assert bob.is_connected
        assert events.disconnected == 0
    assert 'subscription to "ann.in"' in events.errors[0].lower()
    assert 'publish to "ann.in"' in events.errors[1].lower()


async def test_reconnect_after_a_crash(server: ServerProcess) -> None:
    """After a kill and a restart on the same port, clients reconnect and restore their subscriptions."""
    events = Events()
    async with client(server, events) as nc, client(server) as other:
        subscription = await nc.subscribe("foo")
        await barrier(nc)
        server.kill()
        await eventually(lambda: events.disconnected == 1, "the loss of the connection")
        server.restart()
        await eventually(lambda: nc.is_connected and other.is_connected, "the connection")
        await barrier(nc)
        await other.publish("foo", b"again")
        assert await received(subscription, 1) == [b"again"]
        assert events.reconnected == 1


async def test_messages_published_while_the_server_is_down(server: ServerProcess) -> None:
    """Messages that a client publishes while it reconnects are sent after the reconnection."""
    events = Events()
    async with client(server, events) as nc:
        subscription = await nc.subscribe("foo")
        await barrier(nc)
        server.kill()
        await eventually(lambda: events.disconnected == 1, "the loss of the connection")
        for number in range(10):
            await nc.publish("foo", b"%d" % number)
        server.restart()
        assert await received(subscription, 10) == [b"%d" % number for number in range(10)]


async def test_a_client_moves_to_another_server(start_server: StartServer) -> None:
    """A client with two servers reconnects to the second."""
    one, two = start_server(), start_server()
    events = Events()
    options: dict[str, Any] = {"servers": [one.url, two.url], "dont_randomize": True, "reconnect_time_wait": 0.01}
    nc = await nats.connect(**options, **events.callbacks())
    try:
        subscription = await nc.subscribe("foo")
        await barrier(nc)
        one.stop()
        await eventually(lambda: events.reconnected == 1, "the other server")
        assert nc.connected_url is not None
        assert nc.connected_url.port == two.port
        await nc.publish("foo", b"x")
        assert await received(subscription, 1) == [b"x"]
    finally:
        await nc.close()


def _reconnected(events: Events, times: int) -> bool:
    return events.reconnected == times


async def test_restart_many_times(server: ServerProcess) -> None:
    """A client survives five crashes of the server in a row."""
    events = Events()
    async with client(server, events) as nc:
        subscription = await nc.subscribe("foo")
        for number in range(1, 6):
            server.kill()
            server.restart()
            await eventually(partial(_reconnected, events, number), "the connection")
            await nc.publish("foo", b"%d" % number)
            assert await received(subscription, 1) == [b"%d" % number]


async def test_lame_duck_mode(start_server: StartServer) -> None:
    """In lame duck mode a client is notified, is still served, and reconnects to another server when it is closed."""
    events = Events()
    old = start_server('lame_duck_duration: "30s"\nlame_duck_grace_period: "300ms"')
    new = start_server()
    options: dict[str, Any] = {"servers": [old.url, new.url], "dont_randomize": True, "reconnect_time_wait": 0.01}
    nc = await nats.connect(**options, **events.callbacks())
    try:
        subscription = await nc.subscribe("foo")
        await barrier(nc)
        old.signal(signal.SIGUSR2)
        await eventually(lambda: events.lame_duck == 1, "the announcement")
        await eventually(lambda: events.reconnected == 1, "the other server")
        await nc.publish("foo", b"x")
        assert await received(subscription, 1) == [b"x"]
        assert await asyncio.to_thread(old.wait) == 0
    finally:
        await nc.close()


async def test_a_polite_stop(server: ServerProcess) -> None:
    """A client without reconnection is notified when the server stops."""
    events = Events()
    async with client(server, events, allow_reconnect=False) as nc:
        await barrier(nc)
        server.stop()
        await eventually(lambda: nc.is_closed, "the end")
        assert events.closed == 1


async def test_too_many_connections(start_server: StartServer) -> None:
    """The connection beyond the limit is refused, the others still work."""
    server = start_server("max_connections: 1")
    async with client(server) as nc:
        with pytest.raises(REFUSED):
            await nats.connect(server.url, allow_reconnect=False)
        await barrier(nc)
    assert "Maximum Connections Exceeded" in close_reasons(server)


async def test_two_hundred_clients(server: ServerProcess) -> None:
    """Two hundred connections send messages to each other in a ring."""
    clients = await asyncio.gather(*(nats.connect(server.url, connect_timeout=60) for _ in range(200)))
    try:
        subscriptions = [await nc.subscribe(f"ring.{index}") for index, nc in enumerate(clients)]
        await asyncio.gather(*(barrier(nc) for nc in clients))
        for index, nc in enumerate(clients):
            await nc.publish(f"ring.{(index + 1) % len(clients)}", b"%d" % index)
        for index, subscription in enumerate(subscriptions):
            assert await received(subscription, 1) == [b"%d" % ((index - 1) % len(clients))]
        assert server.get_json("/varz")["connections"] == 200
    finally:
        await asyncio.gather(*(nc.close() for nc in clients))
