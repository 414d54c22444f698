"""The Compose files, started and stopped as their README describes."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import ROOT
from .engine import docker
from .traffic import round_trip

SINGLE = ROOT / "compose" / "single.yaml"

Compose = Callable[..., str]


@pytest.fixture
def compose(compose_image: str) -> Iterator[Compose]:
    """A function that runs `docker compose` for the single server, in its own project with free ports."""
    environment = {
        "COMPOSE_FILE": str(SINGLE),
        "COMPOSE_PROJECT_NAME": f"stonechat-test-{uuid.uuid4().hex[:10]}",
        "STONECHAT_IMAGE": compose_image,
        "NATS_PORT": "0",
        "MONITOR_PORT": "0",
    }

    def run(*arguments: str) -> str:
        return docker("compose", *arguments, environment=environment)

    yield run
    run("down", "--volumes", "--timeout", "5")


def url(compose: Compose) -> str:
    """Returns the URL for clients on this machine."""
    port = compose("port", "nats", "4222").strip().rpartition(":")[2]
    return f"nats://127.0.0.1:{port}"


def test_up_waits_for_a_server_that_serves(compose: Compose) -> None:
    compose("up", "--detach", "--wait")
    assert "(healthy)" in compose("ps")
    assert asyncio.run(round_trip(url(compose))) == b"HELLO"


def test_a_killed_server_comes_up_again(compose: Compose) -> None:
    compose("up", "--detach", "--wait")
    compose("kill")
    compose("up", "--detach", "--wait")
    assert asyncio.run(round_trip(url(compose))) == b"HELLO"


def test_image_can_be_built_from_the_clone(compose: Compose) -> None:
    build = json.loads(compose("config", "--format", "json"))["services"]["nats"]["build"]
    context = Path(build["context"])
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
