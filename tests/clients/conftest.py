"""Fixtures of the client tests: each test has its own servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support import binaries
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

StartServer = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def command() -> Path:
    """The `stonechat` command under test."""
    return binaries.stonechat_command()


@pytest.fixture
def start_server(stonechat_program: Path) -> Iterator[StartServer]:
    """A function that starts servers with a configuration; they are stopped after the test."""
    with ExitStack() as stack:
        yield lambda config="", **options: stack.enter_context(ServerProcess(stonechat_program, config, **options))


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A server with the default configuration."""
    return start_server()
