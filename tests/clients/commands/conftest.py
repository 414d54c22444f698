"""Fixtures of the tests of the command: one server with JetStream for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import CONFIG
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(stonechat_program: Path) -> Iterator[ServerProcess]:
    """A server with JetStream; what a test stores on it is still there in the next test of the module."""
    with ServerProcess(stonechat_program, CONFIG) as server:
        yield server


@pytest.fixture(params=["ours", "theirs"])
def either_program(request: pytest.FixtureRequest, stonechat_program: Path, oracle_program: Path) -> Path:
    """Our server, then the real one."""
    return stonechat_program if request.param == "ours" else oracle_program
