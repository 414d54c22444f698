"""Helpers of the client tests: nats-py connections that record their events."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats

from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client
    from nats.aio.subscription import Subscription

    from tests.support.process import ServerProcess

QUICK: dict[str, Any] = {"reconnect_time_wait": 0.01, "max_reconnect_attempts": 1000, "connect_timeout": 30}


class Events:
    """Events of a connection: texts of errors, and numbers of disconnects and reconnects."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.disconnected = 0
        self.reconnected = 0
        self.closed = 0
        self.lame_duck = 0

    def callbacks(self) -> dict[str, Any]:
        """Returns the callbacks as options of `nats.connect`."""

        async def on_error(error: Exception) -> None:
            self.errors.append(str(error))

        def counter(name: str) -> Any:
            async def count() -> None:
                setattr(self, name, getattr(self, name) + 1)

            return count

        return {
            "error_cb": on_error,
            "disconnected_cb": counter("disconnected"),
            "reconnected_cb": counter("reconnected"),
            "closed_cb": counter("closed"),
            "lame_duck_mode_cb": counter("lame_duck"),
        }


@asynccontextmanager
async def client(server: ServerProcess, events: Events | None = None, **options: Any) -> AsyncIterator[Client]:
    """Yields a nats-py connection to the server, and closes it at the end."""
    callbacks = (events or Events()).callbacks()
    connecting = nats.connect(server.url, **{**QUICK, **callbacks, **options})
    connection = await asyncio.wait_for(connecting, PATIENCE_S)
    try:
        yield connection
    finally:
        if not connection.is_closed:
            await connection.close()


def close_reasons(server: ServerProcess) -> list[str]:
    """Returns the reasons for closed connections, from `/connz`."""
    return [connection["reason"] for connection in server.get_json("/connz?state=closed")["connections"]]


async def barrier(connection: Client) -> None:
    """Waits until the server has handled all earlier operations of the client.

    One flush is not enough: nats-py writes its PING at once, before subscriptions and messages that are still
    buffered. The second PING is written after them.
    """
    await connection.flush()
    await connection.flush()


async def received(subscription: Subscription, count: int) -> list[bytes]:
    """Returns the payloads of the next `count` messages."""
    return [(await subscription.next_msg(timeout=60)).data for _ in range(count)]
