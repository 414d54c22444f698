"""Scripts by name, which are played to both servers. Each deletes its streams at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .player import Ask, Fast, Gather, Listen, Step, Tell, Until, api, create, publish

E = "Nats-Expected-"
_RECORDED = Path(__file__).parents[3] / "rust" / "jetstream" / "tests" / "data" / "publishes.json"

FILLED: list[Step] = [
    create("S", subjects=["s.>"], allow_direct=True),
    publish("s.a", "1"),
    publish("s.b", "22", A="b"),
    publish("s.a", "333"),
    publish("s.c", ""),
    publish("s.a.b", "x" * 300, A="b", C="d"),
]
DELETE: list[Step] = [api("STREAM.DELETE.S")]


def _gets() -> list[Step]:
    bodies: list[Any] = [
        {"seq": 2}, {"seq": 99}, {"last_by_subj": "s.a"}, {"last_by_subj": "s.*"}, {"last_by_subj": "nope"},
        {"next_by_subj": "s.*", "seq": 2}, {"next_by_subj": "s.a", "seq": 2}, {"next_by_subj": "s.a", "seq": 4},
        {"next_by_subj": "s.b"}, {"seq": 2, "no_hdr": True}, b"", {}, {"seq": 1, "last_by_subj": "s.a"},
        {"start_time": "2020-01-01T00:00:00Z"}, {"start_time": "2099-01-01T00:00:00Z"},
        {"start_time": "2020-01-01T00:00:00Z", "next_by_subj": "s.b"}, {"batch": 2, "seq": 1}, b"{x", {"seq": -1},
        {"seq": "1"}, {"foo": 1}, {"last_by_subj": "s.a", "next_by_subj": "s.b"},
        {"start_time": "2020-01-01T00:00:00Z", "seq": 2},
    ]  # fmt: skip
    return [*[api("STREAM.MSG.GET.S", body) for body in bodies], api("STREAM.MSG.GET.NONE", {"seq": 1})]


def _direct() -> list[Step]:
    subject = "$JS.API.DIRECT.GET.S"
    bodies: tuple[Any, ...] = (
            {"seq": 1}, {"seq": 2}, {"seq": 99}, {"last_by_subj": "s.a"}, {"last_by_subj": "nope"}, b"", b"{x", {},
            {"next_by_subj": "s.b"}, {"next_by_subj": "s.a", "seq": 2}, {"seq": 2, "no_hdr": True},
            {"last_by_subj": "s.>"}, {"last_by_subj": "*.b"}, {"next_by_subj": "s.>", "seq": 3},
            {"seq": 1, "last_by_subj": "s.a"}, {"start_time": "2020-01-01T00:00:00Z"},
            {"start_time": "2099-01-01T00:00:00Z"}, {"batch": 2}, {"batch": 2, "seq": 99},
            {"last_by_subj": "s.a", "batch": 2}, {"multi_last": []}, {"multi_last": ["nope"]},
            {"multi_last": ["s.>"], "up_to_seq": 1, "up_to_time": "2030-01-01T00:00:00Z"},
            {"multi_last": ["s.>"], "up_to_time": "2020-01-01T00:00:00Z"},
    )  # fmt: skip
    single: list[Step] = [Ask(subject, body) for body in bodies]
    by_subject: list[Step] = [
        Ask(f"{subject}.s.a"), Ask(f"{subject}.s.zz"), Ask(f"{subject}.s.a", {"no_hdr": True}),
        Ask(f"{subject}.s.b", b"x"), Ask(f"{subject}.s.a.b"), Ask(f"{subject}.s.>"),
        Ask(f"{subject}.*.b"), Ask(f"{subject}.zz.>"), Ask("$JS.API.DIRECT.GET.NONE", {"seq": 1}),
        Ask(subject, {"seq": 1}, {"Nats-Required-Api-Level": "99"}),
        Ask(subject, {"seq": 1}, {"Nats-Required-Api-Level": "5"}),
    ]  # fmt: skip
    gathered: tuple[Any, ...] = (
            {"batch": 2, "seq": 1}, {"batch": 10, "seq": 1}, {"batch": 10, "seq": 3}, {"multi_last": ["s.>"]},
            {"multi_last": ["s.a", "s.b"]}, {"multi_last": ["s.a", "zz"], "batch": 1},
            {"multi_last": ["s.>"], "batch": 2}, {"batch": 3, "next_by_subj": "s.a", "seq": 1},
            {"batch": 3, "max_bytes": 1, "seq": 1}, {"multi_last": ["s.>"], "up_to_seq": 1},
            {"multi_last": ["s.>"], "up_to_seq": 3}, {"batch": 2, "start_time": "2020-01-01T00:00:00Z"},
            {"multi_last": ["s.>"], "seq": 2}, {"multi_last": ["s.>"], "up_to_time": "2099-01-01T00:00:00Z"},
            {"multi_last": ["s.*"], "max_bytes": 5}, {"batch": 1, "seq": 2},
    )  # fmt: skip
    several: list[Step] = [Gather(subject, body) for body in gathered]
    return single + by_subject + several


def _infos() -> list[Step]:
    bodies: list[Any] = [
        b"", {"deleted_details": True}, {"subjects_filter": ">"}, {"subjects_filter": ">", "offset": 1},
        {"subjects_filter": ">", "offset": 99}, {"subjects_filter": "zz"}, {"subjects_filter": "s.*"}, b"xx", b"{xx",
        {"foo": 1}, {"offset": "a"}, {"offset": -1, "subjects_filter": ">"}, b"[]", b" {}", b"null",
    ]  # fmt: skip
    return [*[api("STREAM.INFO.S", body) for body in bodies], api("STREAM.INFO.NONE"), api("STREAM.INFO.NONE", b"{x")]


def _lists() -> list[Step]:
    bodies: list[Any] = [
        b"", {}, {"subject": "s.a"}, {"subject": "zzz"}, {"subject": ">"}, {"subject": "t"}, {"offset": 1},
        {"offset": 5}, {"offset": -1}, b"{x", b"xx",
    ]  # fmt: skip
    return [api(f"STREAM.{what}", body) for what in ("NAMES", "LIST") for body in bodies]


def _deletes() -> list[Step]:
    bodies: list[Any] = [
        {"seq": 2}, {"seq": 2}, b"", {"seq": 1, "no_erase": True}, {"seq": 77}, {}, {"seq": 0}, b"{x", {"foo": 1},
    ]  # fmt: skip
    steps: list[Step] = [api("STREAM.MSG.DELETE.S", body) for body in bodies]
    return [*steps, api("STREAM.MSG.DELETE.NONE", {"seq": 1}), api("STREAM.INFO.S", {"deleted_details": True})]


def _purges() -> list[Step]:
    steps: list[Step] = []
    bodies: list[Any] = [
        {"seq": 1, "keep": 1}, {"filter": "zz"}, {"filter": "s.a"}, {"seq": 3}, {"keep": 1},
        {"filter": "s.*", "keep": 1},
        {"filter": "s.*", "seq": 3}, b"x", b"{x", {"foo": 1}, {"keep": 0}, {"seq": 99}, {"keep": 99}, b"",
    ]  # fmt: skip
    for body in bodies:
        info = api("STREAM.INFO.S", {"deleted_details": True})
        steps += [*FILLED, api("STREAM.PURGE.S", body), info, publish("s.z"), info, *DELETE]
    return [*steps, api("STREAM.PURGE.NONE")]


def _updates() -> list[Step]:
    base = {"name": "S", "subjects": ["s.>"], "allow_direct": True}
    changes: list[dict[str, Any]] = [
        {}, {"subjects": ["s.>", "u"]}, {"max_msgs": 2}, {"max_msgs_per_subject": 1}, {"max_bytes": 60},
        {"storage": "memory"}, {"retention": "interest"}, {"retention": "workqueue"}, {"num_replicas": 3},
        {"description": "d"}, {"metadata": {"a": "b"}}, {"allow_direct": False}, {"deny_delete": True},
        {"deny_delete": False}, {"deny_purge": True}, {"duplicate_window": 1}, {"max_age": 1}, {"discard": "new"},
        {"mirror": {"name": "X"}}, {"name": "T"}, {"sealed": True}, {"sealed": False}, {"republish": {"dest": "s.x"}},
        {"subject_transform": {"src": "s.*", "dest": "t.{{wildcard(1)}}"}}, {"foo": 1},
    ]  # fmt: skip
    steps: list[Step] = []
    for change in changes:
        steps += [
            *FILLED,
            api("STREAM.UPDATE.S", {**base, **change}),
            api("STREAM.INFO.S", {"deleted_details": True}),
            publish("s.a", "again"),
            *DELETE,
        ]
    return [
        *steps,
        api("STREAM.UPDATE.NONE", {"name": "NONE"}),
        api("STREAM.UPDATE.S", b""),
        api("STREAM.UPDATE.S", b"{"),
    ]


def _creates() -> list[Step]:
    return [
        create("S", subjects=["s.>"]),
        create("S", subjects=["s.>"]),
        create("S", subjects=["q.>"]),
        create("S", subjects=["s.>"], description="other"),
        api("STREAM.CREATE.T", {"name": "S"}),
        create("T", subjects=["s.a"]),
        create("T", subjects=["s.a", "s.a"]),
        create("T", subjects=["a..b"]),
        create("T", num_replicas=3),
        create("T", sealed=True),
        create("T", subjects=["$JS.API.x"]),
        create("T", subjects=[">"]),
        create("T", retention="nonsense"),
        create("T", max_age=1),
        create("T", pedantic=True, max_msgs=-5),
        create("T", unknown=1),
        api("STREAM.CREATE.T", b""),
        api("STREAM.CREATE.T", b"{x"),
        api("STREAM.CREATE.a/b", {"name": "a/b"}),
        create("T", first_seq=10, storage="memory"),
        publish("T"),
        api("STREAM.INFO.T"),
        api("STREAM.DELETE.T", b"x"),
        api("STREAM.DELETE.T"),
        api("STREAM.DELETE.T"),
        *DELETE,
    ]


def _sealed() -> list[Step]:
    return [
        *FILLED,
        api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"], "allow_direct": True, "sealed": True}),
        publish("s.a"),
        api("STREAM.PURGE.S"),
        api("STREAM.MSG.DELETE.S", {"seq": 1}),
        api("STREAM.MSG.GET.S", {"seq": 1}),
        *DELETE,
        create("S", subjects=["s.>"], deny_delete=True, deny_purge=True),
        publish("s.a"),
        api("STREAM.PURGE.S"),
        api("STREAM.MSG.DELETE.S", {"seq": 1}),
        *DELETE,
    ]


def _others() -> list[Step]:
    silent = [
        "FOO", "STREAM.FOO.S", "STREAM.INFO.S.T", "STREAM.INFO", "META.LEADER.STEPDOWN", "SERVER.REMOVE",
        "ACCOUNT.PURGE.X",
    ]  # fmt: skip
    return [
        *FILLED,
        api("STREAM.LEADER.STEPDOWN.S"),
        api("STREAM.PEER.REMOVE.S", {"peer": "x"}),
        api("STREAM.PEER.EVACUATE.S", {"peer": "x"}),
        api("STREAM.CANCEL_MOVE.S"),
        *[Ask(f"$JS.API.{path}", silent=True) for path in silent],
        api("INFO", b"", Nats_Required_Api_Level="99"),
        api("INFO", b"", Nats_Required_Api_Level="x"),
        api("INFO", b"", Nats_Required_Api_Level="5"),
        api("INFO", b"xx"),
        api("CONSUMER.INFO.S.C"),
        api("CONSUMER.NAMES.S"),
        api("CONSUMER.LIST.S"),
        api("CONSUMER.LIST.NONE"),
        api("CONSUMER.DELETE.S.C"),
        Ask("$JS.API.CONSUMER.MSG.NEXT.S.C"),
        *DELETE,
        api("INFO"),
    ]


def _advisories() -> list[Step]:
    return [
        Listen("$JS.EVENT.ADVISORY.STREAM.>"),
        Listen("$JS.EVENT.ADVISORY.API"),
        create("S", subjects=["s"]),
        create("S", subjects=["t"]),
        api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s", "u"]}),
        api("STREAM.INFO.S"),
        publish("s"),
        api("STREAM.MSG.GET.S", {"seq": 1}),
        api("STREAM.MSG.GET.S", {"seq": 9}),
        api("STREAM.NAMES"),
        *DELETE,
    ]


def _republish() -> list[Step]:
    steps: list[Step] = [Listen("rp.>")]
    for headers_only in (False, True):
        republish = {"src": "s.*", "dest": "rp.{{wildcard(1)}}", "headers_only": headers_only}
        steps += [
            create("S", subjects=["s.>"], republish=republish),
            publish("s.a", "1"),
            publish("s.b", "22", A="b"),
            publish("s.a", "333"),
            publish("s.a.b", "not this one"),
            publish("s.a", "wrong", Nats_Expected_Last_Sequence="99"),
            *DELETE,
        ]
    return steps


def _times() -> list[Step]:
    one_s = 1_000_000_000
    steps: list[Step] = []
    for storage in ("file", "memory"):
        gone = Until("$JS.API.STREAM.INFO.S", "state.messages", 0)
        steps += [
            create("S", subjects=["s.>"], max_age=one_s // 5, duplicate_window=one_s // 5, storage=storage),
            publish("s.a"),
            publish("s.b", Nats_Msg_Id="1"),
            gone,
            publish("s.b", Nats_Msg_Id="1"),
            *DELETE,
            create("S", subjects=["s.>"], allow_msg_ttl=True, storage=storage),
            publish("s.a", Nats_TTL="1s"),
            publish("s.b", Nats_TTL="1"),
            gone,
            *DELETE,
            create("S", subjects=["s.>"], max_age=one_s, subject_delete_marker_ttl=60 * one_s, storage=storage),
            publish("s.a"),
            publish("s.a"),
            publish("s.b", Nats_TTL="2s"),
            Until("$JS.API.STREAM.INFO.S", "state.last_seq", 5),
            api("STREAM.MSG.GET.S", {"last_by_subj": "s.a"}),
            api("STREAM.INFO.S", {"subjects_filter": ">", "deleted_details": True}),
            *DELETE,
        ]
    return steps


def _bucket_times(storage: str) -> list[Step]:
    """Keys and buckets with and without a time to live, with markers from the start, later, or never; all watched."""
    one_s = 1_000_000_000
    purge = {"KV_Operation": "PURGE", "Nats_Rollup": "sub"}
    operations: dict[str, list[dict[str, str]]] = {
        "put": [{}], "put ttl": [{"Nats_TTL": "1s"}], "put ttl, put": [{"Nats_TTL": "1s"}, {}],
        "put, del": [{}, {"KV_Operation": "DEL"}], "put, del ttl": [{}, {"KV_Operation": "DEL", "Nats_TTL": "1s"}],
        "put, purge": [{}, purge], "put, purge ttl": [{}, {**purge, "Nats_TTL": "1s"}],
        "put, put ttl": [{}, {"Nats_TTL": "1s"}], "put never": [{"Nats_TTL": "never"}],
        "purge ttl": [{**purge, "Nats_TTL": "1s"}], "del": [{"KV_Operation": "DEL"}],
    }  # fmt: skip
    begin: list[Step] = []
    end: list[Step] = []
    for age in (0, 2 * one_s):
        for marker in ("none", "given", "later"):
            for history in (1, 5):
                for case in operations.values():
                    number = len(begin)
                    name, subject = f"KV_{number}", f"$KV.{number}.key"
                    config = {
                        "subjects": [f"$KV.{number}.>"], "storage": storage, "max_age": age, "allow_msg_ttl": True,
                        "max_msgs_per_subject": history, "allow_rollup_hdrs": True, "deny_delete": True,
                        "allow_direct": True, "discard": "new",
                    }  # fmt: skip
                    marked = {**config, "subject_delete_marker_ttl": one_s}
                    watch = {"deliver_subject": f"d.{number}", "ack_policy": "none", "name": "W"}
                    begin += [
                        create(name, **(marked if marker == "given" else config)),
                        Listen(f"d.{number}"),
                        api(f"CONSUMER.CREATE.{name}.W", {"stream_name": name, "config": watch}),
                    ]
                    for sequence, headers in enumerate(case, 1):
                        begin.append(publish(subject, "" if "KV_Operation" in headers else "x", **headers))
                        # Wait for the delivery: the next message may remove this one before a busy server delivers it.
                        info = f"$JS.API.CONSUMER.INFO.{name}.W"
                        begin.append(Until(info, "delivered.stream_seq", sequence))
                    if marker == "later":
                        begin.append(api(f"STREAM.UPDATE.{name}", {"name": name, **marked}))
                    told = [
                        api(f"STREAM.INFO.{name}", {"subjects_filter": ">"}),
                        Ask(f"$JS.API.DIRECT.GET.{name}.{subject}"),
                    ]
                    end += [*told, api(f"STREAM.DELETE.{name}")]
    # Longer than all times to live above.
    wait: list[Step] = [
        create("WAIT", subjects=["w"], max_age=5 * one_s),
        publish("w"),
        Until("$JS.API.STREAM.INFO.WAIT", "state.messages", 0),
    ]
    return [*begin, *wait, *end, api("STREAM.DELETE.WAIT")]


def _recorded(storage: str) -> dict[str, list[Step]]:
    scripts = {}
    for number, scenario in enumerate(json.loads(_RECORDED.read_text())):
        config = {**scenario["config"], "storage": storage}
        steps: list[Step] = [api("STREAM.CREATE.S", config)]
        for subject, headers, payload, answer in scenario["publishes"]:
            if answer is not None:
                headers = {name: _text(value) for name, value in headers.items()}
                steps.append(Ask(subject, _text(payload).encode(), headers))
        info = api("STREAM.INFO.S", {"subjects_filter": ">", "deleted_details": True})
        scripts[f"publishes-{number}-{storage}"] = [*steps, info, *DELETE]
    return scripts


def _text(value: Any) -> str:
    return str(value["repeat"] * value["times"] if isinstance(value, dict) else value)


def _sources() -> list[Step]:
    def has(name: str, last: int) -> Until:
        return Until(f"$JS.API.STREAM.INFO.{name}", "state.last_seq", last)

    get = [api("STREAM.MSG.GET.M", {"seq": sequence}) for sequence in range(1, 8)]
    gone = api("STREAM.DELETE.M")
    return [
        *FILLED,
        api("STREAM.MSG.DELETE.S", {"seq": 2}),
        create("M", mirror={"name": "S"}), has("M", 5), *get, api("CONSUMER.NAMES.S"), publish("s.z", "6"), has("M", 6),
        api("STREAM.MSG.DELETE.S", {"seq": 4}), api("STREAM.INFO.M", {"deleted_details": True}),
        api("STREAM.UPDATE.M", {"name": "M", "mirror": {"name": "S", "opt_start_seq": 2}}),
        api("STREAM.UPDATE.M", {"name": "M", "subjects": ["m.>"]}), publish("m.a", "7"), gone,
        create("M", mirror={"name": "S", "opt_start_seq": 3}), has("M", 6), *get, gone,
        create("M", mirror={"name": "S", "filter_subject": "s.a"}, storage="memory"), has("M", 3), *get, gone,
        create("M", mirror={"name": "S", "subject_transforms": [{"src": "s.*", "dest": "t.{{wildcard(1)}}"}]}),
        has("M", 6), *get, gone,
        create("M", sources=[{"name": "S"}]), has("M", 4), *get, publish("s.q", "q"), has("M", 5), gone,
        create("M", sources=[{"name": "S", "filter_subject": "s.a"}], subjects=["m"]), has("M", 2), publish("m", "m"),
        *get, publish("m", "m", Nats_Stream_Source="x"), gone,
        create("M", sources=[{"name": "S", "opt_start_seq": 5,
                              "subject_transforms": [{"src": "s.*", "dest": "t.{{wildcard(1)}}"}]}]),
        has("M", 2), *get, gone,
        create("M", sources=[{"name": "S"}, {"name": "S"}]), create("M", mirror={"name": "M"}),
        create("M", mirror={"name": "S"}, subjects=["m"]), create("M", mirror={"name": "S"}, sources=[{"name": "S"}]),
        *DELETE,
    ]  # fmt: skip


def _counters() -> list[Step]:
    return [
        create("S", subjects=["s.>"], allow_msg_counter=True, allow_direct=True),
        publish("s.a", "", Nats_Incr="1"), publish("s.a", "", Nats_Incr="+5"), publish("s.a", "", Nats_Incr="-10"),
        publish("s.b", "", Nats_Incr="123456789012345678901234567890"), publish("s.b", "", Nats_Incr="1"),
        publish("s.a", ""), publish("s.a", "x"), publish("s.a", "x", Nats_Incr="1"), publish("s.a", "", Nats_Incr="x"),
        publish("s.a", "", Nats_Incr="1.5"), publish("s.a", "", Nats_Incr="1", Nats_Rollup="sub"),
        publish("s.a", "", Nats_Incr="1", Nats_Expected_Last_Sequence="1"),
        publish("s.a", "", Nats_Incr="1", Nats_Msg_Id="i"), publish("s.a", "", Nats_Incr="1", Nats_Msg_Id="i"),
        Ask("$JS.API.DIRECT.GET.S.s.a"), Ask("$JS.API.DIRECT.GET.S.s.b"), api("STREAM.INFO.S"), *DELETE,
        create("S", subjects=["s.>"]), publish("s.a", "", Nats_Incr="1"), publish("s.a", "", Nats_Incr="x"),
        api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"], "allow_msg_counter": True}), *DELETE,
        create("S", subjects=["s.>"], allow_msg_counter=True, discard="new"),
    ]  # fmt: skip


def _mirror_direct() -> list[Step]:
    """A mirror answers direct gets for its origin, even after the origin was deleted."""
    direct = "$JS.API.DIRECT.GET"
    return [
        *FILLED, create("M", mirror={"name": "S"}), Until("$JS.API.STREAM.INFO.M", "state.messages", 5),
        Until("$JS.API.STREAM.INFO.M", "mirror.lag", 0), publish("s.new", "6"),
        Until("$JS.API.STREAM.INFO.M", "state.messages", 6), api("STREAM.DELETE.S"),
        Ask(f"{direct}.S.s.a"), Ask(f"{direct}.S", {"seq": 2}), Ask(f"{direct}.S", {"seq": 99}), Ask(f"{direct}.S.zz"),
        Ask(f"{direct}.M", {"seq": 1}), api("STREAM.DELETE.M"), Ask(f"{direct}.S.s.a"),
        *FILLED, create("M", mirror={"name": "S"}, mirror_direct=False),
        Until("$JS.API.STREAM.INFO.M", "state.messages", 5), *DELETE, api("STREAM.DELETE.M"),
    ]  # fmt: skip


def _counters_with_sources() -> list[Step]:
    """A counter that sums up the counters of two streams, and is incremented itself."""

    def source(name: str) -> dict[str, Any]:
        return {"name": name, "subject_transforms": [{"src": f"{name.lower()}.>", "dest": "sum.>"}]}

    def until(count: int) -> Until:
        return Until("$JS.API.STREAM.INFO.SUM", "state.messages", count)

    last, own = api("STREAM.MSG.GET.SUM", {"last_by_subj": "sum.x"}), publish("sum.x", "", Nats_Incr="100")
    return [
        create("A", subjects=["a.>"], allow_msg_counter=True), create("B", subjects=["b.>"], allow_msg_counter=True),
        create("SUM", subjects=["sum.>"], allow_msg_counter=True, sources=[source("A")]),
        publish("a.x", "", Nats_Incr="5"), until(1), last, publish("a.x", "", Nats_Incr="-7"), until(2), last,
        own, last, publish("a.y", "", Nats_Incr="1"), until(4), api("STREAM.MSG.GET.SUM", {"last_by_subj": "sum.y"}),
        publish("b.x", "", Nats_Incr="1000"),
        api("STREAM.UPDATE.SUM", {"name": "SUM", "subjects": ["sum.>"], "allow_msg_counter": True,
                                  "sources": [source("A"), source("B")]}),
        until(5), last, publish("a.x", "", Nats_Incr="3"), until(6), last, own, last,
        create("COPY", sources=[{"name": "A"}]), Until("$JS.API.STREAM.INFO.COPY", "state.messages", 4),
        api("STREAM.MSG.GET.COPY", {"seq": 4}),
        *[api(f"STREAM.DELETE.{name}") for name in ("A", "B", "SUM", "COPY")],
    ]  # fmt: skip


def _batches() -> list[Step]:
    def part(sequence: int, subject: str = "s.a", identity: str = "b", **headers: str) -> Ask:
        return publish(subject, f"m{sequence}", Nats_Batch_Id=identity, Nats_Batch_Sequence=str(sequence), **headers)

    commit = {"Nats_Batch_Commit": "1"}
    state = api("STREAM.INFO.S")
    return [
        create("S", subjects=["s.>"], allow_atomic=True),
        Listen("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.>"),
        part(1), part(2, "s.b"), state, part(3, **commit), state, api("STREAM.MSG.GET.S", {"seq": 3}),
        part(1, **commit), part(1), part(3), part(2), part(2), part(1), part(2, Nats_Batch_Commit="2"),
        part(1), part(2, Nats_Batch_Commit="eob"), state, api("STREAM.MSG.GET.S", {"seq": 5}),
        part(1, Nats_Batch_Commit="eob"),
        publish("s.a", "x", Nats_Batch_Id="b"), publish("s.a", "x", Nats_Batch_Id="b", Nats_Batch_Sequence="x"),
        part(1, identity="i" * 65), part(5000),
        part(1, Nats_Msg_Id="a"), part(2, Nats_Msg_Id="a", **commit), state,
        part(1, Nats_Msg_Id="a"), part(2, Nats_Msg_Id="b", **commit), state,
        part(1, Nats_Msg_Id="c"), part(2, Nats_Msg_Id="b", **commit), state,
        part(1, Nats_Expected_Last_Sequence="7"), part(2, **commit),
        part(1, Nats_Expected_Last_Sequence="99"), part(2, **commit), state,
        part(1, Nats_Expected_Last_Msg_Id="b"), part(2, **commit),
        part(1, Nats_Expected_Last_Subject_Sequence="99"), part(2, **commit), state,
        part(1), part(2, Nats_Expected_Stream="T", **commit), state,
        part(1, Nats_Required_Api_Level="99"), part(1, Nats_Required_Api_Level="2"), part(2, **commit),
        api("STREAM.MSG.GET.S", {"seq": 9}),
        *DELETE,
        create("S", subjects=["s.>"]), part(1), part(1, **commit), *DELETE,
        create("S", subjects=["s.>"], allow_atomic=True, discard="new", max_msgs=3),
        part(1), part(2), part(3), part(4, **commit), state, part(1), part(2), part(3, **commit), state,
        part(1), part(2, **commit), state, *DELETE,
    ]  # fmt: skip


def _schedules() -> list[Step]:
    past, future = "@at 2020-01-01T00:00:00Z", "@at 2099-01-01T00:00:00Z"

    def plan(pattern: str, subject: str = "s.plan", target: str = "s.target", **headers: str) -> Ask:
        named = {f"Nats_Schedule_{name}": value for name, value in headers.items()}
        return publish(subject, "later", Nats_Schedule=pattern, Nats_Schedule_Target=target, **named)

    patterns = [
        "@at 2099-01-01T00:00:00Z", "@at 2099-01-01T00:00:00.5+02:00", "@at tomorrow", "@at 2099-01-01", "@every 1h",
        "@every 1s", "@every 999ms", "@every", "@every x", "@yearly", "@annually", "@monthly", "@weekly", "@daily",
        "@midnight", "@hourly", "@never", "0 0 0 1 1 *", "0 0 0 1 1", "0 0 0 1 1 * *", "60 0 0 * * *", "0 0 0 30 2 *",
        "0 0 0 29 2 *", "0 30 4 ? * mon-fri",
        "0 0 0 1 JAN,feb *", "*/5 1/2 3-9/2 * * *", "5-1 * * * * *", "* * * * * 7", "@at 2099-01-01t00:00:00z",
    ]  # fmt: skip
    zones = [("@hourly", "Europe/Paris"), ("@hourly", "europe/paris"), ("@hourly", "Nowhere/Land"),
             ("@every 1h", "Europe/Paris"), (future, "UTC"), ("0 0 3 * * *", "America/New_York")]  # fmt: skip
    info, gone = api("STREAM.INFO.S", {"subjects_filter": ">"}), api("STREAM.MSG.GET.S", {"last_by_subj": "s.plan"})
    made = api("STREAM.MSG.GET.S", {"last_by_subj": "s.target"})
    return [
        create("S", subjects=["s.>"], allow_msg_schedules=True, allow_msg_ttl=True),
        *[plan(pattern, f"s.p{n}") for n, pattern in enumerate(patterns)],
        *[plan(pattern, f"s.z{n}", Time_Zone=zone) for n, (pattern, zone) in enumerate(zones)],
        publish("s.a", Nats_Schedule_Time_Zone="Nowhere"), publish("s.a", Nats_Schedule_Time_Zone="UTC"), info,
        api("STREAM.PURGE.S"),
        publish("s.a", Nats_Schedule=future), plan(future, target="s.plan"), plan(future, target="x.a"),
        plan(future, target="s.*"), plan(future, target="s..a"), plan(future, TTL="1s"), plan(future, TTL="x"),
        plan(future, TTL="never"), plan(future, Rollup="sub"), plan(future, Rollup="all"), plan(future, Source="s.src"),
        plan(future, Source="s.plan"), plan(future, Source="s.target"), plan(future, Source="s.*"),
        plan(future, Source="x.y"),
        publish("s.plan", Nats_Schedule=future, Nats_Schedule_Target="s.t", Nats_Rollup="all"),
        publish("s.plan", Nats_Schedule=future, Nats_Schedule_Target="s.t", Nats_Rollup="sub"),
        plan(future, "s.plan"), plan(future, "s.plan"), info, gone,
        publish("s.a", Nats_Schedule_Next="purge"), publish("s.a", Nats_Schedule_Next="soon", Nats_Scheduler="s.plan"),
        publish("s.a", Nats_Scheduler="s.plan"), publish("s.plan", Nats_Schedule_Next="purge", Nats_Scheduler="s.plan"),
        publish("s.b", "no schedule"), publish("s.a", Nats_Schedule_Next="purge", Nats_Scheduler="s.b"),
        publish("s.a", Nats_Schedule_Next="purge", Nats_Scheduler="s.none"),
        publish("s.a", Nats_Schedule_Next="purge", Nats_Scheduler="s.plan"), gone, info,
        publish("s.src", "of the source", A="b", Nats_Msg_Id="i"),
        publish("s.plan", "own", C="d", Nats_Schedule=past, Nats_Schedule_Target="s.target", Nats_Msg_Id="own"),
        Until("$JS.API.STREAM.INFO.S", "state.last_seq", 32), made, gone, info,
        plan(past, Source="s.src", TTL="1h", Rollup="sub"),
        Until("$JS.API.STREAM.INFO.S", "state.last_seq", 34), made, gone,
        plan(past, Source="s.nothing"), Until("$JS.API.STREAM.INFO.S", "state.last_seq", 36), made, info,
        plan("@every 1s"), Until("$JS.API.STREAM.INFO.S", "state.last_seq", 39), made, gone,
        publish("s.plan", "over"), info, *DELETE,
        create("S", subjects=["s.>"]), plan(future), plan("@never"), publish("s.a", Nats_Schedule_Time_Zone="Nowhere"),
        publish("s.a", Nats_Scheduler="s.b"), publish("s.a", Nats_Schedule_Next="purge", Nats_Scheduler="s.b"), *DELETE,
        create("S", subjects=["s.>"], allow_msg_schedules=True), plan(future, TTL="1s"), plan(past, Rollup="sub"),
        Until("$JS.API.STREAM.INFO.S", "state.last_seq", 2), made,
        api("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"]}), *DELETE,
        create("S", subjects=["s.>"], allow_msg_schedules=True, discard="new"),
        create("S", subjects=["s.>"], allow_msg_schedules=True, sources=[{"name": "T"}]),
    ]  # fmt: skip


def _fast() -> list[Step]:
    state = api("STREAM.INFO.S")
    start, more, commit, end, ping = range(5)
    return [
        create("S", subjects=["s.>"], allow_batched=True, max_msg_size=200),
        Fast([(1, start), (2, more), (3, commit)]), state,
        Fast([(1, start), (2, more), (3, end)]), Fast([(1, commit)]), Fast([(1, end)]),
        Fast([(1, start), *[(n, more) for n in range(2, 12)], (12, commit)]),
        Fast([(1, start), *[(n, more) for n in range(2, 12)], (12, commit)], flow="100"),
        Fast([(1, start), *[(n, more) for n in range(2, 12)], (12, end)], flow="0"),
        Fast([(1, start), (2, more), (4, more), (5, more)]), Fast([(5, more)]),
        Fast([(1, start), (2, more), (4, more), (5, more), (6, commit)], gaps="ok"), state,
        Fast([(1, start), (2, more), (2, more), (3, commit)]),
        Fast([(1, start), (2, more), (2, more), (3, commit)], gaps="ok"),
        Fast([(1, start), (3, more), (1, start)], gaps="ok"), Fast([(1, start), (2, more), (2, ping), (3, commit)]),
        Fast([(1, start), (2, more), (5, ping), (6, commit)]),
        Fast([(1, start), (2, more), (5, ping), (6, commit)], gaps="ok"),
        Fast([(1, start)], gaps="maybe"), Fast([(2, start)]), Fast([(1, more)]), Fast([(0, commit)]), Fast([(1, 5)]),
        Fast([(1, start)], batch="i" * 65), Fast([(1, ping), (1, start), (2, commit)]),
        Fast([(1, start), (2, commit)], headers={"Nats-Expected-Stream": "T"}),
        Fast([(1, start), (2, commit)], headers={"Nats-Expected-Stream": "T"}, gaps="ok"),
        Fast([(1, start), (2, commit)], headers={"Nats-Msg-Id": "i"}),
        Fast([(1, start), (2, commit)], headers={"Nats-Msg-Id": "i"}, gaps="ok"),
        Fast([(1, commit)], headers={"Nats-Msg-Id": "i"}), Fast([(1, commit)], headers={"Nats-Msg-Id": "i"}, gaps="ok"),
        Fast([(1, start), (2, commit)], headers={"Nats-Required-Api-Level": "99"}),
        Fast([(1, start), (2, commit)], headers={"Nats-Required-Api-Level": "4"}),
        Fast([(1, start), (2, commit)], payload=b"y" * 201),
        Fast([(1, start), (2, more)]), Fast([(3, more), (4, commit)]), state,
        Fast([(1, start), (2, more)]), Fast([(1, start), (2, commit)], batch="c"), Fast([(3, commit)]), state,
        api("STREAM.MSG.GET.S", {"seq": 3}), *DELETE,
        create("S", subjects=["s.>"]), Fast([(1, start), (2, commit)]), Fast([(1, commit)]), *DELETE,
    ]  # fmt: skip


def _copies() -> list[Step]:
    """Headers of copied messages, and their effect on the copy."""

    def has(last: int, *names: str) -> list[Step]:
        return [Until(f"$JS.API.STREAM.INFO.{name}", "state.last_seq", last) for name in names]

    def ends(names: list[str]) -> list[Step]:
        told: list[Step] = [api(f"STREAM.INFO.{n}", {"subjects_filter": ">", "deleted_details": True}) for n in names]
        return [*told, *[api(f"STREAM.DELETE.{n}") for n in names]]

    mirror, sources = {"mirror": {"name": "S"}}, {"sources": [{"name": "S"}]}
    allowed: list[dict[str, Any]] = [{}, {"allow_rollup_hdrs": True}, {"deny_purge": True}]
    steps: list[Step] = []
    for scope in ("sub", "ALL"):
        steps += [
            create("S", subjects=["s.>"], allow_rollup_hdrs=True), publish("s.a", "1"), publish("s.b", "2"),
            publish("s.a", "3"), *[create(f"M{n}", **mirror, **extra) for n, extra in enumerate(allowed)],
            *[create(f"A{n}", **sources, **extra) for n, extra in enumerate(allowed)],
            *has(3, "M0", "M1", "M2", "A0", "A1", "A2"), publish("s.a", "4", Nats_Rollup=scope), publish("s.c", "5"),
            *has(5, "M0", "M1", "M2", "A0", "A1", "A2"), *ends(["S", "M0", "M1", "M2", "A0", "A1", "A2"]),
        ]  # fmt: skip
    plan = publish("s.plan", "later", Nats_Schedule="@at 2099-01-01T00:00:00Z", Nats_Schedule_Target="s.t")
    get = [api(f"STREAM.MSG.GET.{n}", {"seq": sequence}) for n in "MA" for sequence in range(1, 8)]
    return [
        *steps,
        create("S", subjects=["s.>"], allow_atomic=True), create("M", **mirror), create("A", **sources),
        publish("s.a", "1", Nats_Expected_Stream="S", Nats_Msg_Id="i"),
        publish("s.a", "2", Nats_Expected_Last_Msg_Id="i"),
        publish("s.a", "3", Nats_Expected_Last_Sequence="2", Other="x"),
        publish("s.a", "4", Nats_Expected_Last_Subject_Sequence="3"),
        publish("s.b", "5", Nats_Batch_Id="b", Nats_Batch_Sequence="1"),
        publish("s.b", "6", Nats_Batch_Id="b", Nats_Batch_Sequence="2", Nats_Batch_Commit="1"),
        *has(6, "M", "A"), *get, *ends(["S", "M", "A"]),
        create("S", subjects=["s.>"], allow_msg_schedules=True), plan, create("M", **mirror), create("A", **sources),
        create("R", **sources, allow_rollup_hdrs=True), *has(1, "M", "A", "R"),
        publish("s.a", Nats_Schedule_Next="purge", Nats_Scheduler="s.plan"), *has(2, "M", "A", "R"),
        *ends(["S", "M", "A", "R"]),
        create("S", subjects=["s.>"]), create("T", subjects=["t.>"]),
        create("A", sources=[{"name": "S"}, {"name": "T"}]),
        create("D", sources=[{"name": "S"}, {"name": "T"}], duplicate_window=60_000_000_000),
        publish("s.a", "1", Nats_Msg_Id="i"), *has(1, "D"), publish("t.a", "2", Nats_Msg_Id="i"), *has(2, "A"),
        publish("s.b", "3"), *has(2, "D"), *ends(["S", "T", "A", "D"]),
    ]  # fmt: skip


def _cycles() -> list[Step]:
    """The search for cycles goes by distance: a stream can have two mirrors as sources, but not origin and mirror."""

    def source(*names: str) -> list[dict[str, str]]:
        return [{"name": name} for name in names]

    base = {"name": "O", "subjects": ["o"]}
    filtered = [{"name": "O", "filter_subject": "x"}, {"name": "S1", "filter_subject": "x"}]
    return [
        create("O", subjects=["o"]), create("M1", mirror={"name": "O"}), create("M2", mirror={"name": "O"}),
        create("S1", sources=source("M1", "M2")), create("S2", sources=source("O", "M1")),
        create("S3", sources=source("M1", "O")), create("S4", sources=source("S1", "M1")),
        create("S5", sources=source("S1", "O")), create("S6", mirror={"name": "S6"}),
        create("S7", subjects=["q"], sources=[{"name": "S1", "filter_subject": "zz"}]), create("S8", sources=filtered),
        api("STREAM.UPDATE.O", {**base, "sources": source("S1")}),
        api("STREAM.UPDATE.O", {**base, "sources": [{"name": "S1", "filter_subject": "x"}]}),
        *[api(f"STREAM.DELETE.{n}") for n in ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "M1", "M2", "O")],
    ]  # fmt: skip


def _discard_new() -> list[Step]:
    """Streams that discard new messages keep their messages when a limit for all messages is lowered."""
    steps: list[Step] = []
    lowered: list[dict[str, Any]] = [
        {"max_msgs": 2}, {"max_bytes": 60}, {"max_msgs_per_subject": 1},
        {"max_msgs_per_subject": 2, "discard_new_per_subject": True}, {"max_msgs": 2, "max_msgs_per_subject": 3},
    ]  # fmt: skip
    filled = [publish(subject, "x" * 20) for subject in ("s.a", "s.b", "s.a", "s.a")]
    info = api("STREAM.INFO.S", {"subjects_filter": ">", "deleted_details": True})
    for storage in ("file", "memory"):
        for limits in lowered:
            config = {"name": "S", "subjects": ["s.>"], "storage": storage, "discard": "new"}
            per_subject = {name: limit for name, limit in limits.items() if name != "discard_new_per_subject"}
            steps += [
                api("STREAM.CREATE.S", config), *filled, api("STREAM.UPDATE.S", {**config, **limits}), info,
                publish("s.a", "5"), publish("s.c", "6"), info, publish("s.b", "7"), publish("s.d", "8"), info,
                api("STREAM.UPDATE.S", {**config, "discard": "old", **per_subject}), info, *DELETE,
            ]  # fmt: skip
    return steps


def _given_consumers() -> list[Step]:
    consumer = {
        "name": "C", "durable_name": "C", "deliver_subject": "d.C", "ack_policy": "flow_control", "flow_control": True,
        "idle_heartbeat": 1_000_000_000, "max_ack_pending": 100, "filter_subject": "u.a", "deliver_policy": "all",
    }  # fmt: skip
    given = {"name": "UP", "consumer": {"name": "C", "deliver_subject": "d.C"}}
    return [
        create("UP", subjects=["u.>"], retention="workqueue"),
        api("CONSUMER.CREATE.UP.C", {"stream_name": "UP", "config": consumer}),
        publish("u.a", "1"), publish("u.b", "2"), publish("u.a", "3"),
        create("DOWN", sources=[given]), Until("$JS.API.STREAM.INFO.DOWN", "state.messages", 2),
        publish("u.a", "4"), Until("$JS.API.STREAM.INFO.DOWN", "state.messages", 3),
        api("STREAM.MSG.GET.DOWN", {"seq": 2}), Until("$JS.API.STREAM.INFO.UP", "state.messages", 1),
        create("BAD", sources=[{**given, "opt_start_seq": 5}]),
        create("BAD", sources=[{**given, "filter_subject": "u.a"}]),
        create("BAD", mirror={**given, "opt_start_seq": 5}), create("BAD", sources=[{"name": "UP", "consumer": {}}]),
        api("STREAM.DELETE.DOWN"), api("STREAM.DELETE.UP"),
    ]  # fmt: skip


def _backups() -> list[Step]:
    config = {"name": "T", "subjects": ["t.>"]}
    requests: list[Any] = [
        b"", {}, b"{x", {"deliver_subject": "a.*"}, {"deliver_subject": ""}, {"deliver_subject": 1}, {"other": 1},
    ]  # fmt: skip
    restores: list[Any] = [
        b"", b"{x", {"config": {"name": "X"}}, {"config": {**config, "subjects": ["t.>", "t.a"]}}, {"other": 1},
    ]  # fmt: skip
    return [
        *FILLED, *[api("STREAM.SNAPSHOT.S", request) for request in requests],
        api("STREAM.SNAPSHOT.NONE", {"deliver_subject": "d"}), *[api("STREAM.RESTORE.T", one) for one in restores],
        api("STREAM.RESTORE.S", {"config": {"name": "S", "subjects": ["s.>"]}}), *DELETE,
    ]  # fmt: skip


def _unanswered() -> list[Step]:
    """Requests without a reply subject, which are executed too."""

    def tell(call: str, payload: Any = b"") -> Tell:
        return Tell(f"$JS.API.{call}", payload)

    stream, consumer = "$JS.API.STREAM.INFO.S", "$JS.API.CONSUMER.INFO.S.c"
    config = {"name": "c", "durable_name": "c", "ack_policy": "explicit"}
    return [
        tell("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]}), Until(stream, "config.name", "S"),
        publish("s.a", "1"), publish("s.b", "2"), publish("s.a", "3"), publish("s.b", "4"),
        tell("STREAM.UPDATE.S", {"name": "S", "subjects": ["s.>"], "max_msgs": 3}), Until(stream, "config.max_msgs", 3),
        tell("STREAM.MSG.DELETE.S", {"seq": 3}), Until(stream, "state.messages", 2),
        tell("CONSUMER.CREATE.S.c", {"stream_name": "S", "config": config}), Until(consumer, "config.name", "c"),
        tell("CONSUMER.PAUSE.S.c", {"pause_until": "2099-01-01T00:00:00Z"}), Until(consumer, "paused", value=True),
        # These requests are wrong: they have no effect, and no error is sent.
        tell("STREAM.CREATE.T", b"{x"), tell("STREAM.PURGE.NONE"), tell("STREAM.PURGE.S", {"filter": "a b"}),
        tell("STREAM.NAMES"), tell("STREAM.INFO.S"), tell("NOTHING"),
        tell("CONSUMER.DELETE.S.c"), Until(stream, "state.consumer_count", 0), api("CONSUMER.INFO.S.c"),
        tell("STREAM.PURGE.S", {"filter": "s.a"}), Until(stream, "state.messages", 2),
        tell("STREAM.PURGE.S"), Until(stream, "state.messages", 0),
        tell("STREAM.DELETE.S"), Until(stream, "error.err_code", 10059), api("STREAM.NAMES"),
    ]  # fmt: skip


SCRIPTS: dict[str, list[Step]] = {
    "unanswered": _unanswered(),
    "backups": _backups(),
    "copies": _copies(),
    "cycles": _cycles(),
    "discard-new": _discard_new(),
    "given-consumers": _given_consumers(),
    "schedules": _schedules(),
    "fast": _fast(),
    "sources": _sources(),
    "counters": _counters(),
    "mirror-direct": _mirror_direct(),
    "counters-with-sources": _counters_with_sources(),
    "batches": _batches(),
    "get": [*FILLED, *_gets(), *DELETE],
    "direct-get": [*FILLED, *_direct(), *DELETE],
    "info": [*FILLED, *_infos(), *DELETE],
    "list": [*FILLED, create("T"), *_lists(), api("STREAM.DELETE.T"), *DELETE],
    "delete-message": [*FILLED, *_deletes(), *DELETE],
    "purge": _purges(),
    "update": _updates(),
    "create": _creates(),
    "sealed": _sealed(),
    "others": _others(),
    "advisories": _advisories(),
    "republish": _republish(),
    "times": _times(),
    "bucket-times-file": _bucket_times("file"),
    "bucket-times-memory": _bucket_times("memory"),
    **_recorded("file"),
    **_recorded("memory"),
}
