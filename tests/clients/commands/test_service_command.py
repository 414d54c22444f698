"""`stonechat service` compared with `nats service`: each finds and calls the services of both."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import command_environment, differing_keys, execute, lines, tool_or_skip
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = [
    "service ls",
    "service ls demo",
    "service list nothing",
    "service info demo",
    "service info demo --json",
    "service info demo --endpoint ech",
    "service info nothing",
    "service stats demo",
    "service stats nothing",
    "service ping",
    "service ping demo",
    "service request demo echo hello",
    "service request demo nothing hello",
    "service request nothing echo hello",
    "service nonsense",
    "micro ls",
]


@contextlib.contextmanager
def serving(program: Path, line: str, server: ServerProcess, command: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a service, and yields when it answers."""
    process = subprocess.Popen(
        [program, *shlex.split(line)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=command_environment(server),
        cwd=server.directory,
    )
    try:
        wait_for(lambda: execute(command, "service ls --timeout 1s", server).returncode == 0, "the service")
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("by", ["stonechat", "nats"])
def test_the_same_lines_have_the_same_results(by: str, command: Path, either_program: Path) -> None:
    """Exit codes and JSON keys are the same as with the tool, for its service and ours, on both servers."""
    tool = tool_or_skip()
    with (
        ServerProcess(either_program) as server,
        serving(tool if by == "nats" else command, "service serve demo", server, command),
    ):
        for line in LINES:
            quick = line if "request" in line else f"{line} --timeout 2s"
            expected, got = execute(tool, quick, server), execute(command, quick, server)
            assert bool(expected.returncode) == bool(got.returncode), (line, expected, got)
            if "--json" in line:
                assert not list(differing_keys(line, expected.stdout, got.stdout)), line


def test_a_service_counts_and_ends(command: Path, server: ServerProcess) -> None:
    """Two instances share requests, and their counts add up. After Ctrl-C in one, the other answers all requests."""
    with serving(command, "service serve echo -H Kind:test", server, command) as first:
        with serving(command, "service serve echo", server, command):
            wait_for(lambda: len(lines(command, "service ls echo --json", server)) == 2, "both instances")
            for _ in range(10):
                done = execute(command, "service request echo echo - --raw", server, stdin=b"\x00body")
                assert (done.returncode, done.stdout) == (0, b"\x00body\n")
            stats = lines(command, "service stats echo --json", server)
            assert sum(one["endpoints"][0]["num_requests"] for one in stats) == 10
            assert {one["name"] for one in lines(command, "service ping --json", server)} == {"echo"}
        wait_for(lambda: len(lines(command, "service ls echo --json", server)) == 1, "one instance")
        [message] = lines(command, "service request echo echo hello --json", server)
        assert (message["data"], message["headers"]["Kind"]) == ("hello", ["test"])
        told = json.loads(execute(command, "service info echo --json", server).stdout)
        assert told["info"]["endpoints"][0]["subject"] == "echo.echo"
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 0
    refused = execute(command, "service info echo", server)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"no service echo answers" in refused.stderr
