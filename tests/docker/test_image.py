"""The contents of the image, and the behaviour of its containers."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

from .conftest import ROOT
from .engine import Container, docker, inspect
from .traffic import round_trip


def varz(container: Container) -> dict[str, Any]:
    """Returns the `/varz` document from the monitoring port."""
    with urllib.request.urlopen(f"{container.monitor_url}/varz", timeout=20) as answer:
        variables: dict[str, Any] = json.load(answer)
    return variables


def test_image_is_the_binary_and_an_empty_folder(image: str) -> None:
    facts = inspect(image)
    assert len(facts["RootFS"]["Layers"]) == 2
    assert facts["Size"] < 15_000_000


def test_image_tells_what_it_is(image: str) -> None:
    config = inspect(image)["Config"]
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert version is not None
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == version[1]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert set(config["ExposedPorts"]) == {"4222/tcp", "8222/tcp"}


def test_version_without_a_server(image: str) -> None:
    assert docker("run", "--rm", image, "--version").startswith("nats-server: v")


def test_clients_are_served(container: Container) -> None:
    assert asyncio.run(round_trip(container.url)) == b"HELLO"


def test_monitoring_is_on_without_being_asked_for(container: Container) -> None:
    assert varz(container)["http_port"] == 8222


def test_runs_as_an_ordinary_user(container: Container) -> None:
    status = Path(f"/proc/{container.state['Pid']}/status").read_text()
    ids = re.findall(r"^[UG]id:\t(\d+)\t(\d+)", status, re.MULTILINE)
    assert ids == [("65532", "65532")] * 2


def test_arguments_and_configuration_file_reach_the_server(image: str, tmp_path: Path) -> None:
    config = tmp_path / "my.conf"
    config.write_text("max_payload: 4096\n")
    config.chmod(0o644)
    mount = f"{config}:/etc/stonechat.conf:ro"
    with Container(image, "-n", "wheatear", "-c", "/etc/stonechat.conf", options=["--volume", mount]) as mine:
        variables = varz(mine)
    assert variables["server_name"] == "wheatear"
    assert variables["max_payload"] == 4096


def test_container_turns_healthy(image: str) -> None:
    with Container(image, options=["--health-interval", "200ms"]) as fresh:
        wait_for(lambda: fresh.state["Health"]["Status"] == "healthy", "a healthy container")


def test_health_check_fails_where_monitoring_does_not_answer(image: str) -> None:
    with Container(image, "-m", "9999") as elsewhere:
        assert elsewhere.exec_code("/stonechat-server", "healthcheck") == 1


def test_stop_ends_the_server_cleanly(image: str) -> None:
    with Container(image) as stopping:
        assert stopping.stop() == 0
        assert "Server Exiting.." in stopping.log
