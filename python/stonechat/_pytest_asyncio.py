"""The part of the pytest plugin that needs pytest-asyncio; it is only registered if that plugin is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from .pytest_plugin import connected_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client

    from .server import Server


def _in_loop_of(scope: Any) -> Any:
    # Each scope needs its own function, because pytest-asyncio stores the scope on the function.
    async def client(
        _nats_server_in_use: Server, _nats_login: dict[str, str], nats_client_options: dict[str, Any]
    ) -> AsyncIterator[Client]:
        async with connected_client(_nats_server_in_use, {**_nats_login, **nats_client_options}) as connected:
            yield connected

    return pytest_asyncio.fixture(loop_scope=scope, name=f"_nats_client_asyncio_{scope}")(client)


_in_function = _in_loop_of("function")
_in_class = _in_loop_of("class")
_in_module = _in_loop_of("module")
_in_package = _in_loop_of("package")
_in_session = _in_loop_of("session")
