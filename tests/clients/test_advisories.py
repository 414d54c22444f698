"""Fields of advisories about the server and the requesting client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE_S

from .helpers import barrier, client

if TYPE_CHECKING:
    from tests.support.process import ServerProcess

    from .conftest import StartServer


def test_advisories_call_the_server_by_its_name(start_server: StartServer) -> None:
    asyncio.run(_listen(start_server('server_name: alice\njetstream { store_dir: "js" }')))


async def _listen(server: ServerProcess) -> None:
    async with client(server, name="asker") as connection:
        told = await connection.subscribe("$JS.EVENT.ADVISORY.API")
        await barrier(connection)
        await connection.request("$JS.API.STREAM.NAMES", b"", timeout=PATIENCE_S)
        advisory = json.loads((await told.next_msg(timeout=PATIENCE_S)).data)
        assert advisory["server"] == "alice"
        assert advisory["client"]["server"] == "alice"
        assert advisory["client"]["name"] == "asker"
