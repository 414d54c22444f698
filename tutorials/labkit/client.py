"""The connection of all lab scripts: it works at once, or the script ends with one sentence that says what to do."""

import asyncio
import os
from typing import Any

import nats.errors
from nats.aio.client import Client

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
"""Where the lab's server listens."""

HOW_TO_START = "start one with `docker compose up -d --wait` in the lab's folder, or with `stonechat-server`"


class SureClient(Client):
    """A client whose `flush` and `drain` keep their promise.

    nats-py 2.16 writes the PING of a flush at once, ahead of commands that still wait in its
    buffer: the answer proves nothing about them. They leave right after it, so the answer to a
    second PING does. (Lab 01 shows it in `flush_order.py`.)
    """

    async def flush(self, timeout: int = 10) -> None:
        """Return when the server has handled all that was sent before."""
        await super().flush(timeout)
        await super().flush(timeout)


async def connect(url: str = URL, *, client: Client | None = None, **options: Any) -> Client:
    """Connect as `nats.connect` does with these options, but try once only.

    nats-py tries a server 60 times in two minutes, and prints an error for each attempt, also when it has never been
    connected. A lab script ends after the first one. Once connected, the client reconnects as the options say.
    """
    nc = client or Client()
    reconnect = options.get("allow_reconnect", True)
    tell = options.pop("error_cb", None) or _print
    connected = False

    async def on_error(error: Exception) -> None:
        if not connected:
            raise error  # out of nats-py's loop of attempts, which `allow_reconnect` alone does not end
        await tell(error)

    try:
        # Once, so with more patience than the 2 seconds that nats-py has for one of many attempts.
        await nc.connect(url, **{"connect_timeout": 10, **options, "allow_reconnect": False, "error_cb": on_error})
    except (OSError, ValueError, asyncio.TimeoutError, nats.errors.Error) as problem:
        await nc.close()
        raise SystemExit(advice(url, problem)) from None
    connected = True
    nc.options["allow_reconnect"] = reconnect
    return nc


async def connect_to_jetstream(url: str = URL, **options: Any) -> Client:
    """Like `connect`; the server must have JetStream."""
    nc = await connect(url, **options)
    if not nc._server_info.get("jetstream"):
        await nc.close()
        raise SystemExit(f"the server at {url} has JetStream turned off: start it with `-js`")
    return nc


def advice(url: str, problem: Exception) -> str:
    """One sentence: which server, what is wrong, and what to do."""
    text = str(problem) or type(problem).__name__
    if isinstance(problem, ConnectionRefusedError):
        text = "nobody listens there"
    if isinstance(problem, asyncio.TimeoutError):
        return f"no answer from {url} in time: is it a NATS server that listens there?"
    if isinstance(problem, OSError):
        return f"no server at {url} ({text}): {HOW_TO_START}, or set NATS_URL to the address of yours"
    if "authorization" in text.lower():
        return f"the server at {url} does not let us in ({text}): set NATS_URL to nats://user:password@host:port"
    return f"no connection to {url} ({text}): NATS_URL must be the address of a NATS server, nats://host:port"


async def _print(error: Exception) -> None:
    """Tell in one line what goes wrong later, for example each failed attempt to reconnect."""
    print(f"connection: {str(error) or type(error).__name__}")
