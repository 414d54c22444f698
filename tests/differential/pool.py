"""Pairs of running servers, ours and the real one: one pair for each configuration of the transcripts."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tests.support.process import ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

_PAIRS_MAX = 12
"""Largest number of idle pairs; beyond it, the least recently used ones are stopped."""


@dataclass
class PooledServer:
    """A running server, with its number of subscriptions without any client."""

    process: ServerProcess
    idle_subscriptions: int

    @classmethod
    def start(cls, program: Path, config: str) -> PooledServer:
        """Starts a server with this configuration."""
        process = ServerProcess(program, config)
        try:
            process.start()
            return cls(process, process.get_json("/varz")["subscriptions"])
        except BaseException:
            process.close()
            raise

    def settle(self) -> None:
        """Waits until the server has removed all clients and their subscriptions."""

        def idle() -> bool:
            varz = self.process.get_json("/varz")
            return bool(varz["connections"] == 0 and varz["subscriptions"] == self.idle_subscriptions)

        wait_for(idle, "an idle server")


@dataclass
class Pair:
    """The two servers of one configuration."""

    oracle: PooledServer
    ours: PooledServer

    @property
    def alive(self) -> bool:
        """Whether both still run."""
        return self.oracle.process.running and self.ours.process.running

    def close(self) -> None:
        """Stops both."""
        both(lambda server: server.process.close(), self.oracle, self.ours)


class Pool:
    """Starts pairs when they are first needed, and stops all of them at the end."""

    def __init__(self, oracle: Path, ours: Path) -> None:
        self._programs = (oracle, ours)
        self._pairs: OrderedDict[str, Pair] = OrderedDict()

    @contextmanager
    def lend(self, config: str, own: bool = False) -> Iterator[Pair]:
        """Yields a running pair with this configuration. With `own`, the pair is new and is stopped afterwards."""
        if own:
            pair = self._start(config)
            try:
                yield pair
            finally:
                pair.close()
        else:
            pair = self._shared(config)
            yield pair
            both(lambda server: server.settle(), pair.oracle, pair.ours)

    def _start(self, config: str) -> Pair:
        return Pair(*both(lambda program: PooledServer.start(program, config), *self._programs))

    def _shared(self, config: str) -> Pair:
        pair = self._pairs.pop(config, None)
        if pair is not None and not pair.alive:
            pair.close()
            pair = None
        if pair is None:
            if len(self._pairs) >= _PAIRS_MAX:
                self._pairs.popitem(last=False)[1].close()
            pair = self._start(config)
        self._pairs[config] = pair
        return pair

    def close(self) -> None:
        """Stops all servers."""
        while self._pairs:
            self._pairs.popitem()[1].close()


S = TypeVar("S")


def both(action: Callable[[S], T], first: S, second: S) -> tuple[T, T]:
    """Runs the action on both arguments in parallel."""
    with ThreadPoolExecutor(2) as threads:
        futures = threads.submit(action, first), threads.submit(action, second)
        return futures[0].result(), futures[1].result()
