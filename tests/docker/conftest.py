"""Fixtures of the Docker tests. Without a Docker engine all of these tests are skipped, with the reason."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .engine import Container, compose_problem, engine_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test: `$STONECHAT_IMAGE`, which `make test-docker` has built, else an image built here."""
    if problem := engine_problem():
        pytest.skip(problem)
    name = os.environ.get("STONECHAT_IMAGE")
    if not name:
        name = "stonechat:test"
        subprocess.run(["make", "image", f"IMAGE={name}"], cwd=ROOT, check=True)
    return name


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    """A server that is started as in the README, shared by the read-only tests of a module."""
    with Container(image, "-js") as container:
        yield container


@pytest.fixture
def compose_image(image: str) -> str:
    """The image under test, for tests that also need Compose."""
    if problem := compose_problem():
        pytest.skip(problem)
    return image
