"""Frameworks from PyPI that use key-value and object stores, on a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import pytest_asyncio

from stonechat import Server

WITHIN = 30


@pytest_asyncio.fixture(name="server")
async def _server() -> AsyncIterator[Server]:
    async with Server(jetstream=True) as server:
        yield server


class TestTaskiq:
    """Schedules of taskiq-nats, which are stored in a bucket."""

    @pytest_asyncio.fixture(name="source")
    async def _source(self, server: Server) -> AsyncIterator[Any]:
        taskiq_nats = pytest.importorskip("taskiq_nats", reason="taskiq-nats is missing")
        source = taskiq_nats.NATSKeyValueScheduleSource(server.url, bucket_name="SCHEDULES")
        await source.startup()
        yield source
        await source.shutdown()

    @staticmethod
    def schedule(number: int, **when: Any) -> Any:
        from taskiq import ScheduledTask

        return ScheduledTask(
            task_name=f"task-{number}", labels={}, args=[number], kwargs={}, schedule_id=f"id{number}", **when
        )

    @pytest.mark.asyncio
    async def test_schedules_are_kept(self, server: Server, source: Any) -> None:
        assert await source.get_schedules() == []
        for number in range(5):
            await source.add_schedule(self.schedule(number, cron="* * * * *"))
        assert sorted(one.task_name for one in await source.get_schedules()) == [f"task-{n}" for n in range(5)]
        bucket = await server.kv_async("SCHEDULES", create=False)
        assert await bucket.keys("schedule.*") == [f"schedule.id{number}" for number in range(5)]
        await source.delete_schedule("id1")
        assert "id1" not in {one.schedule_id for one in await source.get_schedules()}
        assert await bucket.get("schedule.id1") is None

    @pytest.mark.asyncio
    async def test_a_schedule_for_once_goes_when_it_was_sent(self, server: Server, source: Any) -> None:
        once = self.schedule(1, time=datetime.now(timezone.utc) + timedelta(hours=1))
        await source.add_schedule(once)
        await source.post_send(once)
        assert await source.get_schedules() == []
        assert [entry.operation for entry in await (await server.kv_async("SCHEDULES")).history("schedule.id1")] == [
            "delete"
        ]

    @pytest.mark.asyncio
    async def test_a_scheduler_sends_what_is_due(self, server: Server, source: Any) -> None:
        from taskiq import TaskiqScheduler
        from taskiq.api import run_receiver_task, run_scheduler_task
        from taskiq_nats import NatsBroker

        broker = NatsBroker(server.url, subject="tasks")
        done: asyncio.Queue[int] = asyncio.Queue()

        @broker.task(task_name="task-7")
        async def task(number: int) -> None:
            await done.put(number)

        await broker.startup()
        await source.add_schedule(self.schedule(7, time=datetime.now(timezone.utc)))
        running = [
            asyncio.create_task(run_receiver_task(broker)),
            asyncio.create_task(run_scheduler_task(TaskiqScheduler(broker, [source]))),
        ]
        try:
            assert await asyncio.wait_for(done.get(), 3 * WITHIN) == 7
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await broker.shutdown()


class TestFastStream:
    """FastStream's watchers of buckets and object stores."""

    @pytest.mark.asyncio
    async def test_a_watcher_of_a_key(self, server: Server) -> None:
        nats = pytest.importorskip("faststream.nats", reason="faststream is missing")
        seen: asyncio.Queue[str] = asyncio.Queue()
        broker = nats.NatsBroker(server.url)

        async def changed(value: str) -> None:
            await seen.put(value)

        broker.subscriber("db.url", kv_watch=nats.KvWatch("CONFIG"))(changed)
        await broker.start()
        try:
            bucket = await server.kv_async("CONFIG", create=False)
            for value in ("one", "two"):
                await bucket.put("db.url", value.encode())
                assert await asyncio.wait_for(seen.get(), WITHIN) == value
            await bucket.put("other", b"three")
            await bucket.put("db.url", b"four")
            assert await asyncio.wait_for(seen.get(), WITHIN) == "four"
        finally:
            await broker.stop()

    @pytest.mark.asyncio
    async def test_a_watcher_of_objects(self, server: Server) -> None:
        nats = pytest.importorskip("faststream.nats", reason="faststream is missing")
        from faststream.nats.annotations import ObjectStorage

        seen: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        broker = nats.NatsBroker(server.url)

        # FastStream evaluates annotations at runtime, without access to the local names of this function.
        async def changed(name: str, storage: Any) -> None:
            await seen.put((name, (await storage.get(name)).data or b""))

        changed.__annotations__["storage"] = ObjectStorage
        broker.subscriber("FILES", obj_watch=nats.ObjWatch(ignore_deletes=True))(changed)
        await broker.start()
        try:
            store = await server.objects_async("FILES", create=False)
            for name, data in (("a.txt", b"one"), ("b.bin", bytes(300_000)), ("a.txt", b"two")):
                await store.put(name, data)
                assert await asyncio.wait_for(seen.get(), WITHIN) == (name, data)
        finally:
            await broker.stop()
