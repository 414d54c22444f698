"""Watches of buckets and object stores: a class for blocking code, and one for event loops."""

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
    """Base class of all watches."""

    _what = ""
    """Kind of the watched store, for error messages."""

    def __init__(self, rules: Any, reader: Reader, wanted: Callable[[Seen], bool]) -> None:
        self._rules = rules
        self._reader = reader
        self._wanted = wanted

    @property
    def is_current(self) -> bool:
        """Whether all entries that existed when the watch started have been delivered."""
        return self._reader.begun and self._reader.pending == 0

    @property
    def is_closed(self) -> bool:
        """Whether the watch is closed."""
        return self._reader.closed

    def close(self) -> None:
        """End the watch. A waiting `next` returns at once; this method does not wait."""
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
    """A watch for blocking code."""

    def next(self, timeout: Seconds | None = None) -> Seen:
        """Wait for the next change and return it.

        Raises:
            NoAnswerError: If no change arrives within the timeout; it is a `TimeoutError`.
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
    """A watch for event loops."""

    async def next(self, timeout: Seconds | None = None) -> Seen:
        """Wait for the next change and return it.

        Raises:
            NoAnswerError: If no change arrives within the timeout; it is a `TimeoutError`.
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
