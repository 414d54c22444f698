"""Buckets on unusual streams, and objects with malformed descriptions: the valid parts are shown."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from stonechat import JetStreamError, ObjectDamagedError, ObjectInfo, ObjectStore, RuleError, Server
from tests.support.odd_objects import DAMAGED, ODD, UNREADABLE


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


@pytest.fixture(name="store")
def _store(server: Server) -> Iterator[ObjectStore]:
    store = server.objects("ODD")
    stream = server.streams["OBJ_ODD"]
    for name, data in (ODD | UNREADABLE).items():
        stream.publish(f"$O.ODD.M.{base64.urlsafe_b64encode(name.encode()).decode()}", data)
    yield store
    store.drop()


def test_objects_are_listed(store: ObjectStore) -> None:
    assert {info.name for info in store} == set(ODD)
    with store.watch() as changes:
        for name in ODD:
            info = changes.next(30)
            assert info.name == name
            assert "\x1b" not in info._repr_html_()
            info.description.encode()
    assert store.info("halves").metadata == {"a": "\ufffd"}
    for name in UNREADABLE:
        with pytest.raises(ObjectDamagedError, match=f"the description of object '{name}' in ODD makes no sense"):
            store.info(name)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_object_is_an_error(store: ObjectStore, name: str) -> None:
    with pytest.raises((ObjectDamagedError, RuleError)):
        store.get(name)


def test_an_object_owns_its_own_chunks_alone(store: ObjectStore) -> None:
    """An object with the id `>` has no chunks; otherwise its deletion would remove the chunks of all objects."""
    store.put("good", b"12345")
    for name in ("all", "words"):
        store.delete(name)
    store.put("all", b"again")
    assert (store.get("good"), store.get("all")) == (b"12345", b"again")


def test_a_delete_keeps_what_is_said(server: Server, store: ObjectStore) -> None:
    store.put("a", b"1", description="Some", headers={"K": "v"})
    store.delete("a")
    store.delete("fields")
    gone = {info.name: info for info in _seen(store)}
    assert (gone["a"].description, gone["a"].headers, gone["a"].size, gone["a"].digest) == ("Some", {"K": "v"}, 0, "")
    last = server.streams["OBJ_ODD"].last(f"$O.ODD.M.{base64.urlsafe_b64encode(b'fields').decode()}")
    assert b'"future"' in last.data


def _seen(store: ObjectStore) -> Iterator[ObjectInfo]:
    with store.watch() as changes:
        while not changes.is_current:
            yield changes.next(30)


@pytest.mark.parametrize(
    "config",
    [
        {"subjects": ["hand.>"], "max_msgs": 5},
        {"subjects": ["$KV.HAND.only"], "max_age": 3e8, "compression": "s2"},
        {"subjects": ["$KV.HAND.>"], "max_msgs_per_subject": -1, "allow_direct": False, "metadata": {"a": "<b>"}},
        {"subjects": ["$KV.HAND.>", "more.*"], "sealed": False, "no_ack": True, "description": "\x1b[2J"},
    ],
)
def test_a_bucket_made_by_hand(server: Server, config: dict[str, object]) -> None:
    subjects = config.pop("subjects")
    assert isinstance(subjects, list)
    server.streams.create("KV_HAND", subjects, **config)
    try:
        bucket = server.kv("HAND", create=False)
        assert bucket.info().name == "HAND"
        assert "\x1b" not in bucket._repr_html_()
        assert list(bucket) == []
        assert bucket.get("nothing") is None
        takes = subjects[0] == "$KV.HAND.>" and "no_ack" not in config
        if takes:
            bucket["a"] = b"1"
            assert dict(bucket.items()) == {"a": b"1"}
        assert server.objects("HAND").store_info().name == "HAND"
    finally:
        server.streams["KV_HAND"].drop()
        server.objects("HAND").drop()


@pytest.mark.parametrize("is_direct", [True, False])
def test_headers_of_a_writer_do_not_pass_for_those_of_the_server(server: Server, is_direct: bool) -> None:
    bucket = server.kv("FORGED")
    stream = server.streams["KV_FORGED"]
    stream.update(allow_direct=is_direct)
    forged = {
        "Nats-Subject": "$KV.FORGED.other",
        "Nats-Sequence": "99",
        "Nats-Time-Stamp": "never",
        "Nats-Msg-Size": "x",
    }
    stream.publish("$KV.FORGED.a", b"1", headers=forged)
    entry = server.kv("FORGED").entry("a")
    assert (entry.key, entry.revision, entry.created.year > 2000) == ("a", 1, True)
    assert [entry.key for entry in bucket.find(values=False)] == ["a"]
    bucket.drop()


def test_options_of_another_kind_are_refused(server: Server) -> None:
    for options in ({"description": "\ud800"}, {"metadata": {"a": "\ud800"}}, {"mirror": "A", "sources": ["B"]}):
        with pytest.raises((RuleError, JetStreamError)):
            server.kv("REFUSED", **options)
    bucket = server.kv("EDITED")
    with pytest.raises(RuleError, match="can't become one"):
        bucket.configure(mirror="A")
    server.kv("SOURCE")["k"] = b"v"
    with bucket.watch("k") as changes:
        bucket.configure(sources=["SOURCE"])
        assert changes.next(30).value == b"v"
