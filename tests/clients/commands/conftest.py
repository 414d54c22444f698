"""Fixtures of the command's tests: one server with JetStream for all tests of a module."""

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
    """A server with JetStream, shared by the tests of a module; stored data is kept between them."""
    with ServerProcess(stonechat_program, CONFIG) as server:
        yield server


@pytest.fixture(params=["ours", "theirs"])
def either_program(request: pytest.FixtureRequest, stonechat_program: Path, oracle_program: Path) -> Path:
    """Parametrizes a test with our server and the real one."""
    return stonechat_program if request.param == "ours" else oracle_program
