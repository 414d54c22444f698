"""A command on a terminal of its own: answers its questions and reads its screens."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

from tests.clients.command_lines import command_environment
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.process import ServerProcess


class Terminal:
    """A pseudo-terminal with a command in it."""

    def __init__(
        self,
        program: Path,
        line: str,
        server: ServerProcess,
        *,
        columns: int = 120,
        rows: int = 50,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        variables = command_environment(server) | {"TERM": "xterm"} | (environment or {})
        self._process = subprocess.Popen(
            [program, *shlex.split(line)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            cwd=server.directory,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._unread = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def wait_for(self, text: str) -> str:
        """Reads until a text has come; returns everything up to it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._unread:
            read = self._read(deadline)
            assert read, f"no {text!r} in {self._unread!r}"
            self._unread += read
        before, _, self._unread = self._unread.partition(text)
        return before + text

    def answer(self, question: str, answer: str) -> None:
        """Waits for a question and answers it."""
        self.wait_for(question)
        self.wait_for(" ")
        os.write(self._master, f"{answer}\n".encode())

    def interrupt(self) -> None:
        """Presses Ctrl-C."""
        os.write(self._master, b"\x03")

    def rest(self) -> str:
        """Reads until the command has ended; it must have succeeded."""
        deadline = time.monotonic() + PATIENCE_S
        while read := self._read(deadline):
            self._unread += read
        assert self.code() == 0, self._unread
        return self._unread

    def code(self) -> int:
        """The exit code, when the command has ended."""
        return self._process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> str:
        """What comes next; nothing at the end, or when it is too late."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            return os.read(self._master, 65536).decode(errors="replace") if ready else ""
        except OSError:
            return ""
