"""What all scripts of this lab share: the prices, the option `--url`, and waiting for Ctrl-C."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from nats.aio.client import Client

sys.path.append(str(Path(__file__).parents[1]))  # labkit lies beside the labs

import labkit.client

PRICES = {"dune": 990, "emma": 750, "ulysses": 1400}
"""What our books cost, in cents: money is counted in whole numbers."""


def euros(cents: int) -> str:
    """990 as ``9.90 EUR``."""
    return f"{cents // 100}.{cents % 100:02} EUR"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows where the server is; a script adds its own options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--url", default=labkit.client.URL, help="where the server listens")
    return parser


async def connect(url: str, **options: Any) -> Client:
    """Connect with a `SureClient`, or end with a sentence that says what to do."""
    return await labkit.client.connect(url, client=labkit.client.SureClient(), **options)


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
