"""`stonechat trace` and `stonechat latency` compared with those of `nats`."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.clients.command_lines import command_environment, compare, execute, lines, tool_or_skip
from tests.support.process import LOOPBACK, ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACES = [
    "stream add A --subjects a.> --defaults",
    "trace a.x --timeout 20s",
    "trace a.x body -T --timeout 20s",
    "trace a.x body --deliver -H Name:value --timeout 20s",
    "trace nobody.listens",
    "trace",
    "trace 'a b'",
]


def test_traces_end_as_those_of_the_tool(command: Path, oracle_program: Path) -> None:
    """Exit codes and streams are as with the tool, on the real server; a traced message is only stored if delivered."""
    differing = compare(oracle_program, command, TRACES)
    assert not differing, differing


def steps(output: bytes) -> set[str]:
    """Returns the names of streams, servers and connections in a trace."""
    return set(re.findall(r'"[^"]*"|[crgl]id:\d+', output.decode()))


@contextlib.contextmanager
def listening(command: Path, line: str, server: ServerProcess) -> Iterator[None]:
    """Runs a subscriber in the background."""
    process = subprocess.Popen(
        [command, *shlex.split(line)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=command_environment(server),
        cwd=server.directory,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_trace_shows_the_way(command: Path, oracle_program: Path) -> None:
    """A trace through two servers to a stream and a queue shows the same names as in the tool."""
    tool = tool_or_skip()
    with ExitStack() as stack:
        listen = f"cluster {{ name: C, listen: '{LOOPBACK}:-1'"
        first = stack.enter_context(ServerProcess(oracle_program, f"server_name: n1\n{listen} }}"))
        port = first.get_json("/varz")["cluster"]["cluster_port"]
        routes = f"{listen}, routes: ['nats://{LOOPBACK}:{port}'] }}"
        second = stack.enter_context(ServerProcess(oracle_program, f"server_name: n2\n{routes}"))
        wait_for(lambda: second.get_json("/routez")["num_routes"] > 0, "the route")

        stack.enter_context(listening(command, "sub a.x --queue workers --raw", second))

        def told() -> bytes:
            return execute(command, "trace a.x --timeout 20s", first).stdout

        wait_for(lambda: b'subject:"a.x"' in told(), "the subscriber")
        shown = told().decode()
        assert 'Client "stonechat" cid:' in shown
        assert 'server:"n1" version:' in shown
        assert "    Router" in shown
        assert 'server:"n2"' in shown
        assert 'queue:"workers"' in shown
        assert "Client: 1" in shown
        assert {'"n1"', '"n2"', '"a.x"', '"workers"'} <= steps(execute(tool, "trace a.x --timeout 20s", first).stdout)
        events = lines(command, "trace a.x --json --timeout 20s", first)
        assert {event["server"]["name"] for event in events} == {"n1", "n2"}
        assert "nobody is interested" in execute(command, "trace b", first).stdout.decode()
        assert re.search(r"\[\d[\d.µms]*\] ", execute(command, "trace a.x -T", first).stdout.decode())


def test_our_server_does_not_trace(command: Path, server: ServerProcess) -> None:
    """On our server the command reports that traces are missing, and the message is not delivered."""
    assert execute(command, "stream add A --subjects a.> --defaults", server).returncode == 0
    done = execute(command, "trace a.x", server)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"does not trace messages" in done.stderr
    assert json.loads(execute(command, "stream info A --json", server).stdout)["state"]["messages"] == 0


def test_latencies_are_measured(command: Path, either_program: Path) -> None:
    """All messages arrive, percentiles increase, and the files contain all latencies."""
    with ServerProcess(either_program) as server:
        line = f"latency --server-b {server.url} --duration 1s --rate 200 --timeout 20s"
        told = json.loads(execute(command, f"{line} --size 1K --json --histogram run", server, timeout=60).stdout)
        assert (told["sent"], told["received"]) == (200, 200)
        rising = list(told["percentiles"].values())
        assert rising == sorted(rising)
        assert 0 < told["minimum"] <= told["median"] <= told["maximum"] == rising[-1]
        assert len((server.directory / "run.raw").read_text().splitlines()) == 200
        assert (server.directory / "run.histogram").read_text().rstrip().endswith("200  inf")
        shown = execute(command, f"lat{line.removeprefix('latency')}", server, timeout=60).stdout.decode()
        for expected in ("Pub Server RTT: ", "99.99: ", "Median Latency: ", "200 sent, 200 received"):
            assert expected in shown, (expected, shown)


def test_latency_refuses_what_the_tool_refuses(command: Path, oracle_program: Path) -> None:
    """Lines that fail in the tool fail in ours too; the error names an unreachable server."""
    tool = tool_or_skip()
    with ServerProcess(oracle_program) as server, ServerProcess(oracle_program) as other:
        for line in (
            "latency",
            f"latency --server-b {server.url} --size 4",
            "latency --server-b nats://127.0.0.1:1",
            # Two servers that do not form a cluster.
            f"latency --server-b {other.url} --timeout 5s",
        ):
            assert execute(tool, line, server).returncode != 0, line
            assert execute(command, line, server).returncode != 0, line
        apart = execute(command, f"latency --server-b {other.url} --timeout 5s", server)
        assert b"no message reaches the second server" in apart.stderr
