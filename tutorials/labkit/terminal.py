"""A terminal window of the lab: runs one command, and reads its output as it comes."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO


def _heed_interrupts() -> None:
    # Whoever runs pytest in the background of a script ignores ^C, and so would the command.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """A running command whose output (both streams, as a terminal shows them) can be waited for."""

    def __init__(self, command: str, folder: Path, env: Mapping[str, str]) -> None:
        shell = shutil.which("bash") or "/bin/sh"
        # A session of its own is a process group of its own: ^C reaches the command and its
        # children, as from a real terminal, and never pytest.
        self._process = subprocess.Popen(
            [shell, "-c", command],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        assert self._process.stdout is not None
        self._changed = threading.Condition()
        self._text = ""
        self._ended = False
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="lab-output", daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._text += line
                    self._changed.notify_all()
        self._process.wait()
        with self._changed:
            if self._text and not self._text.endswith("\n"):
                self._text += "\n"
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """All output so far."""
        with self._changed:
            return self._text

    @property
    def ended(self) -> bool:
        """Whether the command has exited and all its output is read."""
        with self._changed:
            return self._ended

    @property
    def exit_code(self) -> int:
        """The exit code as a shell tells it: 128 + N after signal N."""
        code = self._process.returncode
        return 128 - code if code < 0 else code

    def wait_until(self, true: Callable[[str, bool], bool], seconds: float) -> bool:
        """Wait for ``true(output, ended)``; False if the command ends or time runs out first."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not true(self._text, self._ended):
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._signal(signal.SIGINT)

    def close(self) -> None:
        """End the command whatever it does, and collect it."""
        if not self.ended:
            self._signal(signal.SIGKILL)
        self._reader.join(timeout=10)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class PortMap:
    """Shows the ports that a test uses as the ports that the README speaks of."""

    def __init__(self, ports: Mapping[int, int], *, everywhere: bool = False) -> None:
        self._ports = dict(ports)
        self._everywhere = everywhere

    def to_real(self, text: str) -> str:
        """README's ports to real ones."""
        return self._replace(text, self._ports)

    def to_readme(self, text: str) -> str:
        """Real ports to the README's."""
        return self._replace(text, {real: shown for shown, real in self._ports.items()})

    def _replace(self, text: str, ports: Mapping[int, int]) -> str:
        before = r"(?<!\d)()" if self._everywhere else r"(127\.0\.0\.1:|localhost:|0\.0\.0\.0:)"
        wanted = re.compile(before + "(" + "|".join(map(str, ports)) + r")(?!\d)")
        return wanted.sub(lambda match: f"{match[1]}{ports[int(match[2])]}", text)
