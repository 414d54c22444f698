"""What all scripts of this lab share: the prices, the option `--url`, and waiting for Ctrl-C."""

import argparse
import asyncio
import os
import signal
import sys
from typing import Any

from nats.aio.client import Client

PRICES = {"dune": 990, "emma": 750, "ulysses": 1400}
"""What our books cost, in cents: money is counted in whole numbers."""


def euros(cents: int) -> str:
    """990 as ``9.90 EUR``."""
    return f"{cents // 100}.{cents % 100:02} EUR"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows where the server is; a script adds its own options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    parser.add_argument("--url", default=url, help="where the server listens")
    return parser


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


async def connect(url: str, **options: Any) -> Client:
    """Like `nats.connect`, with a `SureClient`."""
    nc = SureClient()
    await nc.connect(url, **options)
    return nc


def stop_event() -> asyncio.Event:
    """Set by Ctrl-C, or by the polite SIGTERM of Docker, systemd and Kubernetes.

    Call it before you say that you are ready: from then on somebody may want you to stop.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":  # where asyncio knows no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        else:
            loop.add_signal_handler(number, stop.set)
    return stop
