"""Connecting nats-py to a server of this process: at once, or with one sentence that says why not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client

_PATIENCE = 10
"""Seconds for the only attempt, unless told otherwise: nats-py's 2 are for one of many."""


async def connect(url: str, options: Mapping[str, Any]) -> Client:
    """Connect as `nats.connect` does, but give up after the first attempt.

    The server lives in this process: what it refuses now it refuses in two minutes as well, after nats-py's 60
    attempts. The connected client reconnects as its options say.
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
