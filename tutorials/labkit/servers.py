"""The server of a lab: Docker Compose, the in-process `stonechat.Server`, or a binary."""

import functools
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

IMAGE = "stonechat:latest"
KINDS = ("docker", "inprocess", "binary")
START_SECONDS = 60.0


class LabServerError(RuntimeError):
    """The lab's server cannot be had, or did not start."""


class LabServer(ABC):
    """A running server with fixed ports, which survives `kill` and `restart`."""

    kind: str

    def __init__(self, lab: Path) -> None:
        self.lab = lab
        self.port, self.monitor_port = free_ports(2)
        self.running = False
        self._store: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Where `/varz` and its sisters answer."""
        return f"http://127.0.0.1:{self.monitor_port}"

    @property
    def env(self) -> Mapping[str, str]:
        """What commands of the lab find in their environment."""
        return {"NATS_URL": self.url}

    def start(self) -> None:
        """Start, and return when clients can connect."""
        if not self.running:
            self._start()
            self.running = True

    def kill(self) -> None:
        """End the server at once, as a crash would; its ports stay reserved for `restart`."""
        if self.running:
            self.running = False
            self._kill()

    def restart(self) -> None:
        """Start again on the same ports (after killing it, if it still runs)."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Remove whatever was started."""
        self.kill()
        if self._store is not None:
            self._store.cleanup()

    @property
    def store_dir(self) -> str | None:
        """Where JetStream stores, over all restarts; None for a lab whose compose file does not turn it on."""
        if self._store is None and '"-js"' in (self.lab / "compose.yaml").read_text(encoding="utf-8"):
            self._store = tempfile.TemporaryDirectory(prefix="lab-jetstream-")
        return self._store.name if self._store else None

    @abstractmethod
    def logs(self) -> str:
        """What the server has logged so far."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _kill(self) -> None: ...


class DockerServer(LabServer):
    """The lab's compose file under a project name of its own."""

    kind = "docker"

    def __init__(self, lab: Path) -> None:
        super().__init__(lab)
        self._project = f"lab-{uuid.uuid4().hex[:10]}"

    @property
    def env(self) -> Mapping[str, str]:
        """Also what makes a plain ``docker compose`` in the lab's folder speak of this server."""
        return {
            **super().env,
            "COMPOSE_PROJECT_NAME": self._project,
            "NATS_PORT": str(self.port),
            "MONITOR_PORT": str(self.monitor_port),
        }

    def logs(self) -> str:
        """The logs of all containers."""
        return self._compose("logs", "--no-color", "--no-log-prefix")

    def close(self) -> None:
        """Containers, network and volumes go, also those of profiles that a step has started."""
        self.running = False
        self._compose("--profile", "*", "down", "-v", "--remove-orphans", "--timeout", "2")

    def _start(self) -> None:
        self._compose("up", "-d", "--wait")

    def _kill(self) -> None:
        self._compose("kill")

    def _compose(self, *arguments: str) -> str:
        command = ["docker", "compose", *arguments]
        done = subprocess.run(
            command,
            cwd=self.lab,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise LabServerError(f"{' '.join(command)} failed:\n{done.stdout}")
        return done.stdout


class InProcessServer(LabServer):
    """`stonechat.Server` in the process that runs pytest."""

    kind = "inprocess"

    def __init__(self, lab: Path) -> None:
        super().__init__(lab)
        self._lives: list[Any] = []

    def logs(self) -> str:
        """The logs of all servers since the first start."""
        return "\n".join(str(line) for server in self._lives for line in server.logs)

    def _start(self) -> None:
        stonechat: Any = importlib.import_module("stonechat")
        store = {"jetstream": True, "store_dir": self.store_dir} if self.store_dir else {}
        server = stonechat.Server(host="127.0.0.1", port=self.port, monitor_port=self.monitor_port, **store)
        server.start()
        self._lives.append(server)

    def _kill(self) -> None:
        self._lives[-1].stop()


class BinaryServer(LabServer):
    """A server process."""

    kind = "binary"

    def __init__(self, lab: Path) -> None:
        super().__init__(lab)
        self._lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def logs(self) -> str:
        """Standard error, over all restarts."""
        return "\n".join(self._lines)

    def _start(self) -> None:
        program = binary()
        if program is None:
            raise LabServerError("no stonechat-server: set STONECHAT_SERVER or extend PATH")
        store = ["-js", "-sd", self.store_dir] if self.store_dir else []
        self._process = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port), *store],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        settled = threading.Event()
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, ready, settled), daemon=True)
        self._reader.start()
        if not settled.wait(START_SECONDS) or not ready.is_set():
            self._kill()
            raise LabServerError(f"{program} did not start:\n{self.logs()}")

    def _read(
        self,
        process: subprocess.Popen[str],
        ready: threading.Event,
        settled: threading.Event,
    ) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._lines.append(line.rstrip("\n"))
                if "Server is ready" in line:
                    ready.set()
                    settled.set()
        settled.set()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        if self._reader is not None:
            self._reader.join(timeout=10)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def binary() -> str | None:
    """The server program, or None."""
    return os.environ.get("STONECHAT_SERVER") or shutil.which("stonechat-server")


def has_module() -> bool:
    """Whether the Python module `stonechat` is installed."""
    return importlib.util.find_spec("stonechat") is not None


@functools.cache
def has_image(name: str) -> bool:
    """Whether Docker has an image of this name."""
    try:
        done = subprocess.run(["docker", "image", "inspect", name], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@functools.cache
def docker_problem() -> str:
    """Why the labs can't run on Docker; empty when they can."""
    checks = (
        (["docker", "--version"], "Docker is missing"),
        (["docker", "info"], "no Docker engine answers"),
        (["docker", "compose", "version"], "Docker Compose is missing"),
        (["docker", "image", "inspect", IMAGE], f"the image {IMAGE} is missing (make image)"),
    )
    for command, problem in checks:
        try:
            done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return problem
        if done.returncode != 0:
            return problem
    return ""


def choose_kind() -> tuple[str, str]:
    """The kind of server for this run, and a sentence that says so."""
    forced = os.environ.get("LAB_SERVER", "")
    if forced:
        if forced not in KINDS:
            raise LabServerError(f"LAB_SERVER={forced}: must be one of {', '.join(KINDS)}")
        if forced == "docker" and docker_problem():
            raise LabServerError(f"LAB_SERVER=docker, but {docker_problem()}")
        return forced, f"labs run on {_named(forced)} (LAB_SERVER={forced})"
    problem = docker_problem()
    if not problem:
        return "docker", f"labs run on {_named('docker')}"
    return "inprocess", f"{problem}: labs run on {_named('inprocess')}"


def _named(kind: str) -> str:
    if kind == "docker":
        return f"Docker Compose with the image {IMAGE}"
    return "the in-process server" if kind == "inprocess" else f"the binary {binary()}"


def start_server(lab: Path, kind: str | None = None) -> LabServer:
    """Start a server for the lab in this folder."""
    kind = kind or choose_kind()[0]
    if kind == "inprocess" and not has_module():
        raise LabServerError("labs need a server: install Docker, or `pip install .` for the in-process server")
    servers: dict[str, type[LabServer]] = {
        "docker": DockerServer,
        "inprocess": InProcessServer,
        "binary": BinaryServer,
    }
    server = servers[kind](lab)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server
