"""Connects nats-py to a server of this process. A failed first attempt raises an error with a clear message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client

_PATIENCE = 10
"""Default seconds for the only attempt. nats-py's default of 2 is meant for one attempt of many."""


async def connect(url: str, options: Mapping[str, Any]) -> Client:
    """Connect like `nats.connect`, but give up after the first attempt.

    The server is in this process, so further attempts would fail too; nats-py makes 60 of them in two minutes. The
    connected client reconnects as its options say.
    """
    import nats.errors
    from nats.aio.client import Client

    client = Client()
    wanted = dict(options)
    reconnect = wanted.pop("allow_reconnect", True)
    told = wanted.pop("error_cb", None)
    connected = False

    async def on_error(error: Exception) -> None:
        if not connected:
            raise error  # out of nats-py's loop of attempts
        if told is not None:
            await told(error)

    try:
        await client.connect(url, **{"connect_timeout": _PATIENCE, **wanted}, allow_reconnect=False, error_cb=on_error)
    except (OSError, asyncio.TimeoutError, nats.errors.Error) as problem:
        await client.close()
        raise ConnectError(_sentence(url, wanted, problem)) from problem
    connected = True
    client.options["allow_reconnect"] = reconnect
    return client


def _sentence(url: str, options: Mapping[str, Any], problem: Exception) -> str:
    reason = str(problem) or type(problem).__name__
    login = next((f" as {kind} {options[kind]!r}" for kind in ("user",) if options.get(kind)), "")
    if "token" in options:
        login = " with a token"
    if "authorization" in reason.lower():
        return f"the server at {url} refuses the login{login or ' without credentials'} ({reason})"
    return f"can't connect to {url}{login}: {reason}"
