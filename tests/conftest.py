"""Fixtures shared by the test suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import binaries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def stonechat_program() -> Path:
    """The server under test."""
    return binaries.stonechat_server()


@pytest.fixture(scope="session")
def oracle_program() -> Path:
    """The real nats-server."""
    return binaries.nats_server()
