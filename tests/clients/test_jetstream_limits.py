"""Limits of JetStream's API: requests that arrive faster than they are answered."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE_S, eventually

from .helpers import barrier, client

if TYPE_CHECKING:
    from tests.support.process import ServerProcess

    from .conftest import StartServer

CONFIG = """
jetstream { store_dir: "js", request_queue_limit: 50, info_queue_limit: 5000 }
accounts { A { jetstream: enabled, users: [{user: a, password: x}] }, $SYS { users: [{user: s, password: x}] } }
"""
REQUESTS = 2000


def test_requests_that_are_too_many_are_dropped_and_told(start_server: StartServer) -> None:
    asyncio.run(_flood(start_server(CONFIG)))


async def _flood(server: ServerProcess) -> None:
    async with client(server, user="a", password="x") as user, client(server, user="s", password="x") as system:
        told = await system.subscribe("$JS.EVENT.ADVISORY.API.LIMIT_REACHED")
        await barrier(system)
        answers = await user.subscribe("answers", pending_msgs_limit=-1)
        names = await user.subscribe("names")
        await barrier(user)
        # The requests are sent with one write, so that they arrive together.
        line = b"PUB $JS.API.STREAM.PURGE.NONE answers 0\r\n\r\n" * REQUESTS
        await user._send_command(line + b"PUB $JS.API.STREAM.NAMES names 0\r\n\r\n")
        await user.flush()
        advisory = json.loads((await told.next_msg(timeout=PATIENCE_S)).data)
        assert advisory["type"] == "io.nats.jetstream.advisory.v1.api_limit_reached"
        dropped = advisory["dropped"]
        assert 50 <= dropped <= REQUESTS
        # Read-only requests have their own queue.
        assert "streams" in json.loads((await names.next_msg(timeout=PATIENCE_S)).data)
        await eventually(lambda: "JetStream API queue limit reached, dropping" in server.log(), "a word in the log")
        # Later requests are answered.
        answer = await user.request("$JS.API.STREAM.PURGE.NONE", b"", timeout=PATIENCE_S)
        assert json.loads(answer.data)["error"]["err_code"] == 10059
        await barrier(user)
        while told.pending_msgs:
            dropped += json.loads((await told.next_msg()).data)["dropped"]
        assert answers.pending_msgs + dropped == REQUESTS
