"""Runs Docker: checks what is missing on this machine, runs commands, and always removes its containers."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any, final

from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

CLIENT_PORT = 4222
MONITOR_PORT = 8222
PATIENCE_S = 120.0
"""Largest time in seconds for one command on a loaded machine."""


class DockerError(AssertionError):
    """A docker command failed."""


def docker(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Runs `docker ARGUMENTS` and returns its standard output."""
    done = _run(arguments, environment)
    if done.returncode != 0:
        raise DockerError(f"docker {' '.join(arguments)} failed:\n{done.stderr}{done.stdout}")
    return done.stdout


@functools.cache
def engine_problem() -> str:
    """Returns why containers can't run on this machine; empty if they can."""
    return _problem("info", "no Docker engine answers")


@functools.cache
def compose_problem() -> str:
    """Returns why the Compose files can't run on this machine; empty if they can."""
    return engine_problem() or _problem("compose", "version", "there is no `docker compose`")


def inspect(name: str) -> dict[str, Any]:
    """Returns the `docker inspect` document of a container or an image."""
    facts: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return facts[0]


@final
class Container:
    """One container of the image under test, with its ports published on free ports of the loopback address."""

    def __init__(self, image: str, *arguments: str, options: Sequence[str] = ()) -> None:
        self.name = f"stonechat-test-{uuid.uuid4().hex[:10]}"
        self._command = [
            *("run", "--detach", "--name", self.name),
            *("--publish", f"127.0.0.1::{CLIENT_PORT}", "--publish", f"127.0.0.1::{MONITOR_PORT}"),
            *options,
            image,
            *arguments,
        ]

    def __enter__(self) -> Container:
        try:
            docker(*self._command)
            wait_for(self._settled, f"the server in {self.name}")
            assert self.state["Running"], f"the server ended:\n{self.log}"
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"nats://{self._published(CLIENT_PORT)}"

    @property
    def monitor_url(self) -> str:
        """The URL of the monitoring endpoints."""
        return f"http://{self._published(MONITOR_PORT)}"

    @property
    def log(self) -> str:
        """Standard output and standard error of the server."""
        done = _run(("logs", self.name))
        return done.stdout + done.stderr

    @property
    def state(self) -> dict[str, Any]:
        """State of the container: whether it runs, exit code, health."""
        state: dict[str, Any] = inspect(self.name)["State"]
        return state

    def exec_code(self, *command: str) -> int:
        """Runs a command in the container and returns its exit code."""
        return _run(("exec", self.name, *command)).returncode

    def stop(self) -> int:
        """Stops the server, within at most 30 seconds, and returns its exit code."""
        docker("stop", "--time", "30", self.name)
        return int(self.state["ExitCode"])

    def remove(self) -> None:
        """Kills the container if it runs, and deletes it."""
        _run(("rm", "--force", "--volumes", self.name))

    def _settled(self) -> bool:
        return "Server is ready" in self.log or not self.state["Running"]

    def _published(self, port: int) -> str:
        return docker("port", self.name, str(port)).splitlines()[0].strip()


def _problem(*command_and_problem: str) -> str:
    *command, problem = command_and_problem
    try:
        return "" if _run(command).returncode == 0 else problem
    except OSError:
        return "there is no docker command"


def _run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **(environment or {})},
    )
