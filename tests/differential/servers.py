"""Both servers with the same configuration, for tests that need their own pair."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Programs(NamedTuple):
    """The two server programs."""

    oracle: Path
    ours: Path


class Two(NamedTuple):
    """The two running servers."""

    oracle: ServerProcess
    ours: ServerProcess


@contextmanager
def running(programs: Programs, config: str = "", *, args: Sequence[str] = ()) -> Iterator[Two]:
    """Starts both servers, and stops them at the end of the block."""
    with ExitStack() as stack:
        oracle, ours = (stack.enter_context(ServerProcess(program, config, args=args)) for program in programs)
        yield Two(oracle, ours)
