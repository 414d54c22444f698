"""Runs a server program as a child process on free ports, which its ports file names, and always stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit

from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

LOOPBACK = "127.0.0.1"
RANDOM_PORT = -1


class ServerFailedErrorError(AssertionError):
    """The server ended before it was ready, or did not end in time."""


@final
class ServerProcess:
    """One server process with its own temporary directory, configuration file and log.

    `config` is the configuration without the listeners, which use free ports of the loopback address. `port` sets the
    client port.
    """

    def __init__(
        self,
        program: Path,
        config: str = "",
        *,
        args: Sequence[str] = (),
        port: int = RANDOM_PORT,
        monitor: bool = True,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.program = program
        self.config = config
        self.args = tuple(args)
        self.directory = Path(tempfile.mkdtemp(prefix="stonechat-test-"))
        self.port = port
        self.monitor_port = 0
        self._listen_port = port
        self._monitor = monitor
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    # -- start and stop -----------------------------------------------------------------------

    def start(self) -> ServerProcess:
        """Starts the program and returns once all its listeners are open."""
        self.write_config(self.config)
        command = [
            *(str(self.program), "-c", str(self.config_path)),
            *("--ports_file_dir", str(self.directory)),
            *self.args,
        ]
        with self.stderr_path.open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=self.directory,
                env={**os.environ, **(self._environment or {})},
            )
        try:
            wait_for(self._ports_known, f"the ports file of {self.program.name}")
        except ServerFailedErrorError:
            raise
        except AssertionError as error:
            raise ServerFailedErrorError(f"{error}\n{self._whereabouts()}\n{self.log()}") from error
        return self

    def stop(self) -> int:
        """Ends the server with SIGTERM and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Kills the server without a shutdown, as in a crash."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> ServerProcess:
        """Starts an ended server again on the same client port."""
        assert not self.running, "the server still runs"
        for stale in self.directory.glob("*.ports"):
            stale.unlink()
        self._listen_port = self.port
        return self.start()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the server."""
        self.process.send_signal(number)

    def wait(self, patience_s: float = 60.0) -> int:
        """Waits for the end of the server and returns its exit code."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailedErrorError(f"the server did not end by itself\n{self.log()}") from None

    def close(self) -> None:
        """Ends the server, by SIGKILL if SIGTERM fails, and removes its directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> ServerProcess:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- properties -----------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The child process."""
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def config_path(self) -> Path:
        """The configuration file that the server was started with."""
        return self.directory / "server.conf"

    @property
    def stderr_path(self) -> Path:
        """The file for standard output and standard error."""
        return self.directory / "stderr.log"

    def log(self) -> str:
        """Returns the output of the server so far."""
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def wait_for_log(self, text: str) -> str:
        """Waits for a line of the log that contains `text`, and returns it."""
        return wait_for(
            lambda: next((line for line in self.log().splitlines() if text in line), ""), f"the log line {text!r}"
        )

    def wait_for_log_count(self, text: str, count: int) -> None:
        """Waits until the log contains `text` at least `count` times."""
        wait_for(lambda: self.log().count(text) >= count, f"{count} times {text!r} in the log")

    # -- configuration and monitoring -------------------------------------------------------------

    def write_config(self, config: str) -> None:
        """Writes the configuration file: `config`, and the unchanged listeners, which a reload must not move."""
        self.config = config
        lines = [f'listen: "{LOOPBACK}:{self._listen_port}"']
        if self._monitor:
            lines.append(f'http: "{LOOPBACK}:{RANDOM_PORT}"')
        self.config_path.write_text("\n".join([*lines, config, ""]))

    def reload(self, config: str) -> None:
        """Replaces the configuration, requests a reload, and waits until it is done."""
        self.write_config(config)
        before = self.log().count("Reloaded server configuration")
        self.signal(signal.SIGHUP)
        wait_for(lambda: self.log().count("Reloaded server configuration") > before, "the reload")

    def get(self, path: str) -> tuple[int, str, str]:
        """GETs a path of the monitoring port; returns status, content type and body."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.monitor_port}{path}", timeout=20) as answer:
                return answer.status, answer.headers["Content-Type"] or "", answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"] or "", error.read().decode()

    def get_json(self, path: str) -> Any:
        """GETs a path of the monitoring port and returns the parsed JSON body."""
        status, _, body = self.get(path)
        assert status == 200, f"{path}: {status} {body}"
        return json.loads(body)

    def _whereabouts(self) -> str:
        """Returns the state of each thread of a hanging server, from /proc."""
        lines: list[str] = []
        for thread in sorted(Path(f"/proc/{self.pid}/task").glob("*")):
            told = [thread.name]
            for what in ("comm", "wchan", "syscall", "stack"):
                with suppress(OSError):
                    told.append((thread / what).read_text().strip())
            lines.append(" | ".join(told))
        return "\n".join(lines)

    def _ports_known(self) -> bool:
        if self.process.poll() is not None:
            raise ServerFailedErrorError(f"{self.program.name} ended with {self.process.returncode}\n{self.log()}")
        for file in self.directory.glob(f"*_{self.pid}.ports"):
            try:
                ports: dict[str, list[str]] = json.loads(file.read_text())
            except ValueError:  # still being written
                continue
            self.port = _port_of(ports["nats"][0])
            if "monitoring" in ports:
                self.monitor_port = _port_of(ports["monitoring"][0])
            return True
        return False


def _port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, f"{url} has no port"
    return port
