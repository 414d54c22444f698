"""Messages of nats-py: subjects, queue groups, requests, headers, limits, drain."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import nats.errors
import pytest

from tests.support.waiting import eventually

from .helpers import Events, barrier, client, received

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from tests.support.process import ServerProcess

    from .conftest import StartServer

pytestmark = pytest.mark.asyncio


async def test_publish_and_subscribe(server: ServerProcess) -> None:
    """Messages arrive in order, with their subjects and replies."""
    async with client(server) as nc:
        subscription = await nc.subscribe("orders.new")
        for number in range(100):
            await nc.publish("orders.new", b"%d" % number, reply="answers")
        messages = [await subscription.next_msg(timeout=60) for _ in range(100)]
    assert [message.data for message in messages] == [b"%d" % number for number in range(100)]
    assert {(message.subject, message.reply) for message in messages} == {("orders.new", "answers")}


async def test_publisher_and_subscribers_apart(server: ServerProcess) -> None:
    """Every subscriber on every connection gets a copy."""
    async with client(server) as one, client(server) as two, client(server) as publisher:
        subscriptions = [await nc.subscribe("news") for nc in (one, two, two)]
        await barrier(one)
        await barrier(two)
        await publisher.publish("news", b"hello")
        assert [await received(subscription, 1) for subscription in subscriptions] == [[b"hello"]] * 3


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a.b", {"a.b"}),
        ("a.*", {"a.b", "a.c"}),
        ("*.b", {"a.b", "x.b"}),
        ("a.>", {"a.b", "a.c", "a.b.c"}),
        (">", {"a", "a.b", "a.c", "x.b", "a.b.c"}),
        ("*.*.*", {"a.b.c"}),
    ],
)
async def test_wildcards(server: ServerProcess, pattern: str, matching: set[str]) -> None:
    """A subscription to a pattern gets exactly the matching messages."""
    async with client(server) as nc:
        subscription = await nc.subscribe(pattern)
        for subject in ("a", "a.b", "a.c", "x.b", "a.b.c"):
            await nc.publish(subject, subject.encode())
        await barrier(nc)
        got = await received(subscription, len(matching))
        assert {data.decode() for data in got} == matching
        assert subscription.pending_msgs == 0


async def test_queue_group_shares_fairly(server: ServerProcess) -> None:
    """Each message is delivered to one member; of many messages each member gets a similar share."""
    messages = 3000
    async with client(server) as publisher, client(server) as one, client(server) as two, client(server) as three:
        members = [await nc.subscribe("work", queue="workers") for nc in (one, two, three)]
        for nc in (one, two, three):
            await barrier(nc)
        for number in range(messages):
            await publisher.publish("work", b"%d" % number)
        await barrier(publisher)
        await eventually(lambda: sum(m.pending_msgs for m in members) == messages, "all messages")
        shares = [member.pending_msgs for member in members]
        everything = [
            data for member, share in zip(members, shares, strict=True) for data in await received(member, share)
        ]
    assert Counter(everything) == Counter(b"%d" % number for number in range(messages))
    # Random shares of three members have a standard deviation of 26. A difference of ten times that is not random.
    assert all(abs(share - messages / 3) < 260 for share in shares), shares


async def test_queue_group_beside_a_plain_subscriber(server: ServerProcess) -> None:
    """A plain subscriber and each group get all messages."""
    async with client(server) as nc:
        plain = await nc.subscribe("work")
        groups = [[await nc.subscribe("work", queue=name) for _ in range(2)] for name in ("a", "b")]
        for number in range(10):
            await nc.publish("work", b"%d" % number)
        await barrier(nc)
        assert plain.pending_msgs == 10
        assert [sum(member.pending_msgs for member in group) for group in groups] == [10, 10]


async def test_request_and_reply(server: ServerProcess) -> None:
    """Each of many concurrent requests gets its own reply."""

    async def answer(message: Msg) -> None:
        await message.respond(b"re: " + message.data)

    async with client(server) as responder, client(server) as requester:
        await responder.subscribe("help", cb=answer)
        await barrier(responder)
        replies = await asyncio.gather(*(requester.request("help", b"%d" % n, timeout=60) for n in range(50)))
    assert [reply.data for reply in replies] == [b"re: %d" % n for n in range(50)]


async def test_request_in_the_old_style(server: ServerProcess) -> None:
    """Old-style requests with one inbox each and an auto-unsubscribe work."""

    async def answer(message: Msg) -> None:
        await message.respond(b"first")
        await message.respond(b"second")

    async with client(server) as nc:
        await nc.subscribe("help", cb=answer)
        assert (await nc.request("help", b"", timeout=60, old_style=True)).data == b"first"


async def test_no_responders(server: ServerProcess) -> None:
    """A request without a responder fails at once."""
    async with client(server) as nc:
        with pytest.raises(nats.errors.NoRespondersError):
            await nc.request("nobody.there", b"", timeout=60)


async def test_a_responder_that_says_nothing(server: ServerProcess) -> None:
    """A request times out if its responder does not reply."""
    async with client(server) as nc:
        await nc.subscribe("silence")
        with pytest.raises(nats.errors.TimeoutError):
            await nc.request("silence", b"", timeout=0.1)


async def test_headers(server: ServerProcess) -> None:
    """Headers are delivered with a message and with a reply."""

    async def answer(message: Msg) -> None:
        assert message.headers is not None
        await nc.publish(message.reply, b"", headers={"Seen": message.headers["Trace-Id"]})

    async with client(server) as nc:
        await nc.subscribe("help", cb=answer)
        reply = await nc.request("help", b"x", timeout=60, headers={"Trace-Id": "17", "Other": "a: b"})
        assert reply.headers == {"Seen": "17"}


async def test_payloads_of_all_sizes(server: ServerProcess) -> None:
    """Payloads from empty to the largest size arrive unchanged."""
    async with client(server) as nc:
        subscription = await nc.subscribe("data")
        for size in (0, 1, 100, 4095, 4096, 4097, 65535, 65536, 1000000, nc.max_payload):
            payload = bytes(index * 7 % 256 for index in range(256)) * (size // 256 + 1)
            await nc.publish("data", payload[:size])
            assert await received(subscription, 1) == [payload[:size]]


async def test_max_payload_is_known_to_the_client(start_server: StartServer) -> None:
    """The client reads the limit from INFO and refuses larger payloads itself."""
    async with client(start_server("max_payload: 1000")) as nc:
        assert nc.max_payload == 1000
        with pytest.raises(nats.errors.MaxPayloadError):
            await nc.publish("data", b"x" * 1001)


async def test_interest_holds_at_once(server: ServerProcess) -> None:
    """An acknowledged subscription gets the next message of any client."""
    async with client(server) as publisher, client(server) as subscriber:
        for number in range(50):
            subscription = await subscriber.subscribe(f"flush.{number}")
            await barrier(subscriber)
            await publisher.publish(f"flush.{number}", b"x")
            await barrier(publisher)
            assert await received(subscription, 1) == [b"x"]


async def test_unsubscribe(server: ServerProcess) -> None:
    """No message is delivered after an unsubscribe."""
    async with client(server) as nc:
        got: list[bytes] = []

        async def note(message: Msg) -> None:
            got.append(message.data)

        subscription = await nc.subscribe("foo", cb=note)
        await nc.publish("foo", b"1")
        await barrier(nc)
        await eventually(lambda: got == [b"1"], "the first message")
        await subscription.unsubscribe()
        await nc.publish("foo", b"2")
        await barrier(nc)
        assert got == [b"1"]


async def test_unsubscribe_after_a_number(server: ServerProcess) -> None:
    """The server delivers the given number of messages and then ends the subscription."""
    async with client(server) as nc, client(server) as witness:
        subscription = await nc.subscribe("foo")
        await subscription.unsubscribe(limit=3)
        await barrier(nc)
        everything = await witness.subscribe("foo")
        await barrier(witness)
        for number in range(10):
            await witness.publish("foo", b"%d" % number)
        assert await received(everything, 10) == [b"%d" % number for number in range(10)]
        assert await received(subscription, 3) == [b"0", b"1", b"2"]
        (connection,) = [c for c in server.get_json("/connz?subs=1")["connections"] if c["cid"] == nc.client_id]
        assert connection["out_msgs"] == 3
        assert connection["subscriptions"] == 0


async def test_many_subscriptions(server: ServerProcess) -> None:
    """Each of five thousand subscriptions on one connection gets its message."""
    count = 5000
    async with client(server) as subscriber, client(server) as publisher:
        got: Counter[str] = Counter()

        async def note(message: Msg) -> None:
            got[message.subject] += 1

        for number in range(count):
            await subscriber.subscribe(f"many.{number % 50}.{number}", cb=note)
        await barrier(subscriber)
        for number in range(0, count, 7):
            await publisher.publish(f"many.{number % 50}.{number}", b"")
        await barrier(publisher)
        await eventually(lambda: len(got) == len(range(0, count, 7)), "all messages")
        assert set(got.values()) == {1}


async def test_no_echo(server: ServerProcess) -> None:
    """A client with `no_echo` does not get its own messages, but those of others."""
    async with client(server, no_echo=True) as nc, client(server) as other:
        subscription = await nc.subscribe("foo")
        await nc.publish("foo", b"own")
        await barrier(nc)
        await other.publish("foo", b"other")
        assert await received(subscription, 1) == [b"other"]


async def test_pedantic_and_verbose(server: ServerProcess) -> None:
    """A client with `verbose` and `pedantic` works."""
    events = Events()
    async with client(server, events, verbose=True, pedantic=True) as nc:
        subscription = await nc.subscribe("foo.*")
        await nc.publish("foo.bar", b"x")
        assert await received(subscription, 1) == [b"x"]
        await barrier(nc)
    assert events.errors == []


async def test_drain_of_a_subscription(server: ServerProcess) -> None:
    """Messages that the server sent before the drain are still handled, later ones are not."""
    async with client(server) as nc, client(server) as publisher:
        got: list[bytes] = []

        async def note(message: Msg) -> None:
            got.append(message.data)

        subscription = await nc.subscribe("foo", cb=note)
        await barrier(nc)
        for number in range(200):
            await publisher.publish("foo", b"%d" % number)
        await barrier(publisher)
        await subscription.drain()  # type: ignore[no-untyped-call]
        await publisher.publish("foo", b"late")
        await barrier(publisher)
        await barrier(nc)
        assert got == [b"%d" % number for number in range(200)]


async def test_drain_of_a_connection(server: ServerProcess) -> None:
    """A draining worker handles its messages and then closes; the other members get the rest."""
    async with client(server) as publisher, client(server) as stays:
        events, got = Events(), []
        async with client(server, events) as leaves:

            async def note(message: Msg) -> None:
                got.append(message.data)

            await leaves.subscribe("work", queue="workers", cb=note)
            await stays.subscribe("work", queue="workers", cb=note)
            await barrier(leaves)
            await barrier(stays)
            for number in range(100):
                await publisher.publish("work", b"%d" % number)
            await barrier(publisher)
            await leaves.drain()
            assert leaves.is_closed
            assert events.closed == 1
        for number in range(100, 200):
            await publisher.publish("work", b"%d" % number)
        await barrier(publisher)
        await eventually(lambda: len(got) == 200, "all messages")
    assert Counter(got) == Counter(b"%d" % number for number in range(200))


async def test_json_payloads_and_unicode_subjects(server: ServerProcess) -> None:
    """Subjects may be any Unicode text without blanks."""
    async with client(server) as nc:
        subscription = await nc.subscribe("wetter.zürich.*")
        await nc.publish("wetter.zürich.東京", json.dumps({"grad": 21.5}).encode())
        message = await subscription.next_msg(timeout=60)
        assert message.subject == "wetter.zürich.東京"
        assert json.loads(message.data) == {"grad": 21.5}
