"""The client without a socket: forks, Ctrl-C, exits, limits, and leaks."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import trio

from stonechat import ConnectError, NotRunningError, Server, WrongProcessError
from tests.support.waiting import wait_for

from .test_process import in_child, needs_fork, needs_proc, run

AWAKE = "stonechat-bell"


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_not_use_a_bucket() -> None:
    with Server(jetstream=True) as server:
        bucket = server.kv("A")
        bucket["a"] = b"1"
        changes = bucket.watch()

        def child() -> None:
            for use in (
                lambda: bucket["a"],
                lambda: bucket.put("a", b""),
                lambda: server.kv("B"),
                lambda: list(server.streams),
                lambda: changes.next(0),
                lambda: next(found),
            ):
                with pytest.raises(WrongProcessError):
                    use()
            changes.close()
            gc.collect()

        found = bucket.find()
        assert in_child(child) == 0
        assert changes.next(30).value == b"1"
        assert bucket["a"] == b"1"


@pytest.mark.parametrize("loop", ["none", "asyncio", "trio"])
def test_ctrl_c_ends_a_wait(loop: str) -> None:
    code = f"""
import asyncio, sys, stonechat
with stonechat.Server(jetstream=True) as server:
    bucket = server.kv("A")
    def wait():
        print("waits", flush=True)
        bucket.watch().next()
    async def wait_async():
        watched = await server.kv_async("A")
        print("waits", flush=True)
        await watched.watch().next()
    try:
        if {loop!r} == "none":
            wait()
        elif {loop!r} == "asyncio":
            asyncio.run(wait_async())
        else:
            import trio
            trio.run(wait_async)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert process.returncode == 0


@pytest.mark.parametrize("stop", ["server.stop()", "pass"])
def test_the_interpreter_ends_while_threads_wait(stop: str) -> None:
    code = f"""
import asyncio, threading, stonechat
server = stonechat.Server(jetstream=True).start()
bucket = server.kv("A")
def look():
    try:
        for _ in bucket.watch():
            pass
    except stonechat.NotRunningError:
        pass
for _ in range(3):
    threading.Thread(target=look, daemon=True).start()
async def main():
    await (await server.kv_async("A")).put("a", b"1")
asyncio.run(main())
{stop}
"""
    ended = run(code)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_it_counts_as_a_client() -> None:
    with Server(jetstream=True, max_connections=1) as server:
        server.kv("A")["a"] = b"1"
        [connection] = server.connz()["connections"]
        assert (connection["name"], connection["ip"], connection["lang"]) == (
            "stonechat (in process)",
            "pipe",
            "stonechat",
        )
        with pytest.raises(ConnectError, match="maximum connections exceeded"):
            server.kv("A", login={"user": "joe", "password": "x"})


def test_a_silent_client_is_pinged_and_stays() -> None:
    # Pings arrive every 50 ms. A busy machine may answer late, so `ping_max` allows many unanswered ones.
    with Server(jetstream=True, ping_interval=0.05, ping_max=200, record=True) as server:
        bucket = server.kv("A")
        with bucket.watch() as changes:

            def pongs() -> int:
                return sum("<<- [PONG]" in text for _, _, text in server._current().tape() or ())

            wait_for(lambda: pongs() >= 3, "answers to pings")
            bucket["a"] = b"1"
            assert changes.next(30).value == b"1"
        assert server.varz()["total_connections"] == 1


def test_a_server_in_lame_duck_mode_takes_no_more() -> None:
    with Server(jetstream=True, lame_duck_grace_period=0.05, lame_duck_duration=1) as server:
        server.kv("A")
        server.lame_duck()
        assert server.wait(30)
        with pytest.raises((NotRunningError, ConnectError)):
            server.kv("A", login={"user": "a", "password": "b"})


@needs_proc
def test_nothing_is_left_of_closed_connections() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only the number matters
    with Server(jetstream=True) as server:
        connection = weakref.ref(server._connection(None))
        bucket = server.kv("A")
        open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for number in range(20):
            # Each login has its own connection, but no socket.
            server.kv("A", login={"user": f"u{number}", "password": "x"})
        # JetStream may have files open at this moment.
        assert len(os.listdir("/proc/self/fd")) <= open_files + 3  # noqa: PTH208
        bucket["a"] = b""
    del bucket, server
    gc.collect()
    assert connection() is None
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208


def test_many_waits_at_once_in_one_loop() -> None:
    async def main(server: Server) -> int:
        bucket = await server.kv_async("A")
        await asyncio.gather(*(bucket.put(f"k{number}", b"x") for number in range(500)))
        values = await asyncio.gather(*(bucket.get(f"k{number}") for number in range(500)))
        return values.count(b"x")

    with Server(jetstream=True) as server:
        assert asyncio.run(main(server)) == 500
        assert sum(thread.name == AWAKE for thread in threading.enumerate()) >= 1


def test_loops_in_many_threads_share_a_server() -> None:
    counted: list[int] = []

    async def count(server: Server, number: int) -> None:
        bucket = await server.kv_async("A")
        for step in range(20):
            await bucket.put(f"t{number}", str(step).encode())
        counted.append(len(await bucket.keys("*")))

    with Server(jetstream=True) as server:
        threads = [
            threading.Thread(target=run_loop, args=(count, server, number))
            for number, run_loop in enumerate([lambda f, *a: asyncio.run(f(*a)), lambda f, *a: trio.run(f, *a)] * 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counted) == 4
        assert len(server.kv("A")) == 4


def test_buckets_of_another_shape_are_shown_as_far_as_they_can_be() -> None:
    with Server(jetstream=True) as server:
        streams = server.streams
        streams.create("KV_HAND", ["$KV.HAND.>"], max_msgs_per_subject=-1, metadata={"<b>": "\x1b[31m"})
        streams.create("KV_OTHER", ["other.>"])
        streams.create("KV_MIRROR", mirror={"name": "PLAIN"})
        streams.create("PLAIN", ["plain"])
        hand = server.kv("HAND", create=False)
        hand["a"] = b"1"
        assert (hand["a"], hand.info().history, hand._repr_html_().count("<b>")) == (b"1", -1, 1)
        # Messages that no client writes: invalid keys and unknown operations.
        streams["KV_HAND"].publish("$KV.HAND.a b".replace(" ", "%"), b"2", headers={"KV-Operation": "DANCE"})
        assert [(entry.key, entry.operation) for entry in hand.find()] == [("a", "put"), ("a%b", "put")]
        for name in ("OTHER", "MIRROR"):
            other = server.kv(name, create=False)
            assert (other.info().values, list(other), other.get("a")) == (0, [], None)
            assert other._repr_html_()


def test_waiting_lets_others_run() -> None:
    with Server(jetstream=True) as server, server.kv("A").watch() as changes:

        def count() -> None:
            # If the wait held the GIL, this loop would never end.
            for _ in range(100_000):
                pass
            changes.close()

        thread = threading.Thread(target=count)
        thread.start()
        assert list(changes) == []
        thread.join()


def test_a_store_that_is_kept(tmp_path: Path) -> None:
    with Server(jetstream=True, store_dir=tmp_path) as server:
        server.kv("A", history=2)["a"] = b"1"
        server.objects("B").put("x", bytes(300_000))
    with Server(jetstream=True, store_dir=tmp_path) as server:
        assert server.kv("A")["a"] == b"1"
        assert server.objects("B").get("x") == bytes(300_000)
