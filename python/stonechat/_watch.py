"""Watches of buckets and object stores: one shell for code that waits, one for event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._link import run, run_async
from .errors import NoAnswerError, StreamNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from ._link import Ops
    from ._reader import Delivered, Reader
    from .options import Seconds

Seen = TypeVar("Seen")


class Watching(Generic[Seen]):
    """What all watches have."""

    _what = ""
    """What is watched, in errors."""

    def __init__(self, rules: Any, reader: Reader, wanted: Callable[[Seen], bool]) -> None:
        self._rules = rules
        self._reader = reader
        self._wanted = wanted

    @property
    def is_current(self) -> bool:
        """Whether all that was there at the beginning has been delivered."""
        return self._reader.begun and self._reader.pending == 0

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._reader.closed

    def close(self) -> None:
        """End the watch. Whoever waits for what comes next is told at once; this itself never waits."""
        self._reader.close()

    def _next(self, timeout: Seconds | None) -> Ops[Seen | None]:
        from .server import _limit

        limit = None if timeout is None else _limit(timeout)
        while (found := (yield from self._found(limit))) is not None:
            if self._reader.pending:
                self._reader.pending = found.pending
            seen: Seen | None = self._rules.delivered(found)
            if seen is not None and self._wanted(seen):
                return seen
        if self._reader.closed:
            return None
        raise NoAnswerError(f"no change in {self._what} {self._rules.name} within {limit:g} s")

    def _found(self, limit: float | None) -> Ops[Delivered | None]:
        try:
            return (yield from self._reader.next(limit))
        except StreamNotFoundError:
            raise self._rules.no_bucket() from None


class Waiting(Watching[Seen]):
    """A watch whose next change is waited for on the calling thread."""

    def next(self, timeout: Seconds | None = None) -> Seen:
        """What comes next.

        Raises:
            NoAnswerError: If nothing comes in time; it is a `TimeoutError`.
            StopIteration: If the watch is closed.
        """
        seen = run(self._next(timeout))
        if seen is None:
            raise StopIteration
        return seen

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Seen:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Awaiting(Watching[Seen]):
    """A watch whose next change is awaited."""

    async def next(self, timeout: Seconds | None = None) -> Seen:
        """What comes next.

        Raises:
            NoAnswerError: If nothing comes in time; it is a `TimeoutError`.
            StopAsyncIteration: If the watch is closed.
        """
        seen = await run_async(self._next(timeout))
        if seen is None:
            raise StopAsyncIteration
        return seen

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Seen:
        return await self.next()

    async def __aenter__(self) -> Self:
        await self._rules.access.run_async(lambda c: self._rules.begin(c, self._reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
