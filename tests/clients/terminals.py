"""Runs a command on a pseudo-terminal, answers its questions and reads its screens."""

from __future__ import annotations

import codecs
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

import pyte

from tests.clients.command_lines import command_environment
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.process import ServerProcess


class Terminal:
    """A pseudo-terminal that runs a command."""

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
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def wait_for(self, text: str) -> str:
        """Reads until a text has arrived, and returns the output up to it."""
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
        """Sends Ctrl-C."""
        os.write(self._master, b"\x03")

    def rest(self) -> str:
        """Reads until the command has ended successfully, and returns the output."""
        deadline = time.monotonic() + PATIENCE_S
        while read := self._read(deadline):
            self._unread += read
        assert self.code() == 0, self._unread
        return self._unread

    def code(self) -> int:
        """Waits for the end of the command and returns its exit code."""
        return self._process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> str:
        """Returns the next output, or an empty text at the end or after the deadline."""
        while read := self._read_bytes(deadline):
            # A read may end in the middle of a character.
            if text := self._decoder.decode(read):
                return text
        return ""

    def _read_bytes(self, deadline: float) -> bytes:
        # `select` does not support file descriptors above 1,023, and some tests have many files open.
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        try:
            return os.read(self._master, 65536) if ready else b""
        except OSError:
            return b""


class Screen(Terminal):
    """A terminal that emulates the screen, for programs that move the cursor."""

    def __init__(
        self,
        program: Path,
        line: str,
        server: ServerProcess,
        *,
        columns: int = 80,
        rows: int = 24,
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(program, line, server, columns=columns, rows=rows, environment=environment)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The whole screen."""
        return "\n".join(self.lines)

    def wait_until(self, condition: Callable[[str], object], what: str) -> str:
        """Reads until the screen meets a condition, and returns the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(self.text):
            read = self._read_bytes(deadline)
            is_over = not read or time.monotonic() > deadline
            assert not is_over, f"waited in vain for {what}:\n{self.text}"
            self._stream.feed(read)
        return self.text

    def wait_for(self, text: str) -> str:
        """Reads until the screen shows a text."""
        return self.wait_until(lambda screen: text in screen, repr(text))

    def press(self, keys: str) -> None:
        """Presses keys, one after the other."""
        os.write(self._master, keys.encode())
