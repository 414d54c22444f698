"""Servers in asynchronous code."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import nats
import nats.aio.msg
import pytest
import trio

from stonechat import PortInUseError, Server


@pytest.mark.asyncio
async def test_async_with() -> None:
    async with Server() as server:
        client = await nats.connect(server.url)
        subscription = await client.subscribe("a")
        await client.publish("a", b"1")
        assert (await subscription.next_msg(timeout=10)).data == b"1"
        await client.close()
    assert not server.ready


@pytest.mark.asyncio
async def test_request_and_reply_in_one_process() -> None:
    async with Server() as server:
        client = await nats.connect(server.url)

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(message.data.upper())

        await client.subscribe("up", cb=answer)
        assert (await client.request("up", b"abc", timeout=10)).data == b"ABC"
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("nobody", b"", timeout=10)
        await client.close()


@pytest.mark.asyncio
async def test_the_event_loop_goes_on_while_a_server_starts_and_stops() -> None:
    caller = threading.get_ident()
    seen: list[int] = []

    class Watched(Server):
        def start(self) -> Watched:
            seen.append(threading.get_ident())
            super().start()
            return self

        def stop(self) -> None:
            seen.append(threading.get_ident())
            super().stop()

    async with Watched():
        pass
    assert len(seen) == 2
    assert caller not in seen


@pytest.mark.asyncio
async def test_the_methods(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 100")
    server = await Server(path).start_async()
    port = server.port
    assert await server.restart_async() is server
    assert server.port == port
    path.write_text("max_payload: 200")
    await server.reload_async()
    assert server.varz()["max_payload"] == 200
    await server.stop_async()
    assert not server.ready


@pytest.mark.asyncio
async def test_errors_come_through() -> None:
    async with Server() as server:
        with pytest.raises(PortInUseError):
            await Server(port=server.port).start_async()


@pytest.mark.asyncio
async def test_a_cancelled_start_leaves_no_server() -> None:
    begun, go_on, stopped = threading.Event(), threading.Event(), threading.Event()

    class Slow(Server):
        def start(self) -> Slow:
            begun.set()
            go_on.wait()
            super().start()
            return self

        def stop(self) -> None:
            # Simulates a stop() that waits for the running start, which holds the lock.
            while not self.ready:
                pass
            super().stop()
            stopped.set()

    server = Slow()
    task = asyncio.create_task(server.start_async())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(stopped.wait, 10)
    assert not server.ready


@pytest.mark.asyncio
async def test_a_client_reconnects_after_a_restart() -> None:
    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    async with Server() as server:
        client = await nats.connect(server.url, reconnected_cb=reconnected, reconnect_time_wait=0.05)
        subscription = await client.subscribe("a")
        await server.restart_async()
        await asyncio.wait_for(back.wait(), timeout=30)
        await client.publish("a", b"after")
        assert (await subscription.next_msg(timeout=10)).data == b"after"
        await client.close()


@pytest.mark.asyncio
async def test_many_at_once() -> None:
    servers = [Server() for _ in range(10)]
    await asyncio.gather(*(server.start_async() for server in servers))
    assert len({server.port for server in servers}) == 10
    await asyncio.gather(*(server.stop_async() for server in servers))


def test_trio() -> None:
    async def main() -> None:
        async with Server() as server:
            stream = await trio.open_tcp_stream(server.host, server.port)
            assert (await stream.receive_some(5)).startswith(b"INFO ")
            await stream.aclose()
        assert not server.ready

    trio.run(main)


def test_trio_stops_the_server_when_cancelled() -> None:
    server = Server()

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with server:
                scope.cancel()
                await trio.sleep_forever()

    trio.run(main)
    assert not server.ready
