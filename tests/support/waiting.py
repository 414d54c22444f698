"""Waits for conditions with a deadline; no other code of these tests sleeps."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_S = 60.0
"""Seconds after which a condition counts as failed; enough for a loaded machine."""

_PAUSE_S = 0.003


def wait_for(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Waits until `condition` returns a true value, and returns that; after `patience_s` fails with `what`."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        time.sleep(_PAUSE_S)


async def eventually(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Like `wait_for`, but lets the event loop run in between."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        await asyncio.sleep(_PAUSE_S)
    return value
