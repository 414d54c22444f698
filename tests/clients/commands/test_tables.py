"""Output of `stonechat` in tables and lists of facts, on terminals of 80 and 160 columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import SYSTEM_CONFIG, execute
from tests.clients.terminals import Terminal
from tests.support import binaries
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG = "a_rather_long_name_that_somebody_has_chosen_without_a_thought"
TABLES = [
    "stream ls -a",
    "stream report",
    "stream subjects LONG",
    "stream gaps LONG -f",
    "stream find",
    "consumer ls LONG",
    "consumer report LONG",
    "kv ls",
    "kv ls B -v --display-value",
    "kv history B key",
    "object ls",
    "object ls O",
    "context ls",
    "errors ls stream",
    "server ls --user sys --password pw",
    "server check stream --stream LONG --format text",
]


@pytest.fixture(scope="module")
def server(stonechat_program: Path) -> Iterator[ServerProcess]:
    command = binaries.stonechat_command()
    with ServerProcess(stonechat_program, SYSTEM_CONFIG) as server:
        for line in (
            f"stream add LONG --subjects {LONG}.> --defaults --description '{LONG} {LONG}'",
            "stream add COPY --source LONG --defaults",
            *(f"pub {LONG}.{i} {'x' * 50}" for i in range(4)),
            "stream rmm LONG 2 -f",
            f"consumer add LONG {LONG} --pull --defaults --description '{LONG}'",
            f"kv add B --description '{LONG}' --history 3",
            *(f"kv put B key {LONG}{i}" for i in range(3)),
            f"object add O --description '{LONG}'",
            f"context add mine --description '{LONG} {LONG}'",
        ):
            assert execute(command, line, server).returncode == 0, line
        assert execute(command, f"object put O --name {LONG}/{LONG}", server, stdin=b"x").returncode == 0
        yield server


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("line", TABLES)
def test_a_table_fits_the_terminal(line: str, columns: int, server: ServerProcess) -> None:
    """No line is wider than the terminal."""
    with Terminal(binaries.stonechat_command(), line, server, columns=columns, rows=50) as terminal:
        screen = ESCAPES.sub("", terminal.rest())
    assert "╭" in screen
    too_wide = [text for text in screen.splitlines() if len(text) > columns]
    assert not too_wide, screen


def test_colours_are_for_terminals_that_want_them(server: ServerProcess) -> None:
    """A terminal gets colours; with `NO_COLOR`, and in a pipe, there are none."""
    command = binaries.stonechat_command()

    def watched(**environment: str) -> str:
        with Terminal(command, "kv watch B", server, environment=environment) as terminal:
            return terminal.wait_for("key")

    assert "\x1b[32mPUT" in watched()
    assert "\x1b[" not in watched(NO_COLOR="1")
    assert "\x1b[" not in watched(TERM="dumb")
    assert b"\x1b" not in execute(command, "context info mine", server).stdout


def test_ctrl_c_ends_at_once(server: ServerProcess) -> None:
    """One or two Ctrl-C end a waiting command at once."""
    for presses in (1, 2):
        with Terminal(binaries.stonechat_command(), "object watch O", server) as terminal:
            terminal.wait_for("PUT")
            for _ in range(presses):
                terminal.interrupt()
            assert terminal.code() in (130, -2)


@pytest.mark.parametrize("line", ["errors ls", "stream subjects LONG --json", "completion bash"])
def test_a_closed_pipe_is_no_error(line: str, server: ServerProcess) -> None:
    """If the reader closes the pipe, the command ends without an error."""
    command = binaries.stonechat_command()
    script = f"set -o pipefail; {command} {line} | head -c 10 >/dev/null"
    done = execute(Path("/bin/bash"), f"-c '{script}'", server)
    assert (done.returncode, done.stderr) == (0, b"")
