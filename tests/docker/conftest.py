"""Fixtures of the Docker tests; without an engine all of them are skipped, with the reason."""

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
    """The image under test: `$STONECHAT_IMAGE`, which `make test-docker` has just built, else built now."""
    if problem := engine_problem():
        pytest.skip(problem)
    name = os.environ.get("STONECHAT_IMAGE")
    if not name:
        name = "stonechat:test"
        subprocess.run(["make", "image", f"IMAGE={name}"], cwd=ROOT, check=True)
    return name


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    """A server as the README starts it, shared by the tests of a module that only look."""
    with Container(image, "-js") as container:
        yield container


@pytest.fixture
def compose_image(image: str) -> str:
    """The image under test, where there is Compose as well."""
    if problem := compose_problem():
        pytest.skip(problem)
    return image
