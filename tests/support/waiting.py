"""Waiting for a condition with a deadline: the only place in these tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a condition that must come true may take on a loaded machine."""

_PAUSE_S = 0.003


def wait_for(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true value of `condition`; fails with `what` when the patience is over."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        time.sleep(_PAUSE_S)


async def eventually(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Like `wait_for`, for tests whose condition comes true in the same event loop."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        await asyncio.sleep(_PAUSE_S)
    return value
