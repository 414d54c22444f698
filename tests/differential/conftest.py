"""Fixtures of the differential tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .pool import Pool
from .servers import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def pool(oracle_program: Path, stonechat_program: Path) -> Iterator[Pool]:
    """Pairs of servers, shared by all transcripts of the session."""
    pool = Pool(oracle_program, stonechat_program)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def programs(oracle_program: Path, stonechat_program: Path) -> Programs:
    """Both server programs."""
    return Programs(oracle_program, stonechat_program)
