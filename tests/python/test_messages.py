"""Recorded messages of a server, and waits for messages and subscriptions."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stonechat import ConnectError, NotSupportedError, Server

from .raw_client import RawClient


@pytest.fixture(name="server")
def _server() -> object:
    with Server(record=True, jetstream=True) as server:
        yield server


def client(server: Server, name: str) -> RawClient:
    return RawClient(server.url, name=name, headers=True)


def test_who_published_and_who_got_it(server: Server) -> None:
    with client(server, "pub") as pub, client(server, "sub") as sub:
        pub.publish("a.b", "early")
        pub.ping()
        sub.subscribe("a.*")
        pub.publish("a.b", "late")
        pub.publish("c", "other")
        pub.ping()
        assert sub.message() == ("a.b", "late")
        early, late = server.published("a.>")
        assert (early.data, early.publisher.name, early.receivers, early.is_heard) == (b"early", "pub", [], False)
        assert (late.data, [peer.name for peer in late.receivers], late.is_heard) == (b"late", ["sub"], True)
        assert early.time <= late.time
        assert [message.subject for message in server.published()] == ["a.b", "a.b", "c"]
        assert server.published(since=late.time + 3600) == []


@pytest.mark.parametrize(
    "payload", ["", 'quote " and \\ and \\x41', "\r\nMSG_PAYLOAD: [x]\r\n", "ünïcode\t\x00\x1b\u2028", "[]"]
)
def test_any_payload_is_recorded_as_it_is(server: Server, payload: str) -> None:
    with client(server, "pub") as pub:
        pub.publish("any", payload)
        pub.ping()
        [message] = server.published("any")
        assert message.data == payload.encode()


def test_headers_and_replies(server: Server) -> None:
    with client(server, "pub") as pub:
        block = "NATS/1.0\r\nKind: tea\r\nEmpty:\r\n\r\n"
        pub.send(f"HPUB a answers {len(block)} {len(block) + 3}\r\n{block}two")
        pub.ping()
        [message] = server.published("a")
        assert (message.headers, message.data, message.reply) == ({"Kind": "tea", "Empty": ""}, b"two", "answers")


def test_equal_messages_of_a_queue_group_go_to_one_member_each(server: Server) -> None:
    with client(server, "pub") as pub, client(server, "one") as one, client(server, "two") as two:
        for member in (one, two):
            member.send("SUB work group 1")
            member.ping()
        for _ in range(20):
            pub.publish("work", "same")
        pub.ping()
        assert [len(message.receivers) for message in server.published("work")] == [1] * 20


def test_a_stream_is_a_receiver_and_names_the_place(server: Server) -> None:
    with client(server, "pub") as pub:
        pub.subscribe("inbox")
        config = '{"name":"S","subjects":["s.*"]}'
        pub.send(f"PUB $JS.API.STREAM.CREATE.S inbox {len(config)}\r\n{config}")
        assert "stream_create_response" in pub.message()[1]
        pub.send("PUB s.1 inbox 1\r\nx")
        assert '"seq":1' in pub.message()[1]
        [message] = server.published("s.*")
        assert (message.stored, message.is_heard) == (("S", 1), True)
        # Internal subjects are only listed if the pattern names their first token.
        assert [message.subject for message in server.published("$JS.>")] == ["$JS.API.STREAM.CREATE.S"]
    assert server.jsz(streams=True)["account_details"][0]["stream_detail"][0]["name"] == "S"


def test_a_stopped_server_still_tells(server: Server) -> None:
    with client(server, "pub") as pub:
        pub.publish("a", "1")
        pub.ping()
    server.stop()
    assert len(server.published("a")) == 1


def test_the_trace_of_a_recording_is_not_in_the_log(server: Server) -> None:
    with client(server, "pub") as pub:
        pub.publish("a", "1")
        pub.ping()
    assert not any("[TRC]" in str(line) for line in server.logs)
    with Server(record=True, trace=True) as traced, client(traced, "pub") as pub:
        assert any("[TRC]" in str(line) for line in traced.logs)


def test_a_server_that_does_not_record_says_so() -> None:
    with Server() as server, pytest.raises(NotSupportedError, match="start it with record=True"):
        server.published()


def test_waiting_for_a_subscription(server: Server) -> None:
    with client(server, "sub") as sub:
        later = threading.Timer(0.05, sub.send, ["SUB a.* 1"])
        later.start()
        server.wait_for_subscription("a.b", timeout=60)
        server.wait_for_subscription("a.*", timeout=60)
        later.join()
        with pytest.raises(TimeoutError, match=r"no subscription to 'b' within 0 s; sub listens to a\.\*"):
            server.wait_for_subscription("b", timeout=0)
        with pytest.raises(TimeoutError):
            server.wait_for_subscription("a.b", count=2, timeout=0)


def test_waiting_for_messages(server: Server) -> None:
    with client(server, "pub") as pub:
        later = threading.Timer(0.05, pub.publish, ["a", "1"])
        later.start()
        assert asyncio.run(server.wait_for_published_async("a", timeout=60))[0].data == b"1"
        later.join()
        with pytest.raises(TimeoutError, match="1 of 2 messages on 'a' within 0 s; published: a"):
            server.wait_for_published("a", 2, timeout=0)


def test_connections_by_query(server: Server) -> None:
    with client(server, "one") as one:
        one.subscribe("x")
        [connection] = server.connz(subs=True)["connections"]
        assert (connection["name"], connection["subscriptions_list"]) == ("one", ["x"])
    with pytest.raises(ValueError, match="limit"):
        server.connz(limit="many")


def test_a_client_with_the_credentials_of_the_server() -> None:
    pytest.importorskip("nats")

    async def talk(server: Server) -> None:
        joe = await server.connect(name="joe")
        await joe.flush()
        assert server.connz()["connections"][0]["name"] == "joe"
        assert joe.options["allow_reconnect"] is True
        await joe.close()
        with pytest.raises(ConnectError, match="refuses the login as user 'joe'"):
            await server.connect(password="wrong")

    with Server(user="joe", password="secret") as server:
        asyncio.run(talk(server))


def test_limits_of_jetstream() -> None:
    with Server(jetstream=True, max_memory=1 << 20, max_file=2 << 20) as server:
        config = server.jsz()["config"]
        assert (config["max_memory"], config["max_storage"]) == (1 << 20, 2 << 20)
