"""`stonechat server` compared with `nats server`: requests and checks, on our server and on the real one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.command_lines import SYSTEM_CONFIG, compare, execute, lines, tool_or_skip
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYSTEM = "--user sys --password pw --timeout 1s"

SCENARIOS = {
    "asked": [
        f"server list {SYSTEM}",
        f"server ls {SYSTEM} --sort name",
        f"server ls 1 {SYSTEM} --json",
        f"server ls {SYSTEM} --sort size",
        "server ls --timeout 300ms",
        f"server ping {SYSTEM}",
        f"server ping 1 --id {SYSTEM}",
        f"server ping many {SYSTEM}",
        "server nonsense",
    ],
    "checks": [
        "stream add A --subjects a.> --defaults --max-bytes 1MB",
        "pub a.x one",
        "pub a.y two",
        "stream add M --mirror A --defaults --max-bytes 1MB",
        "stream add S --source A --defaults --max-bytes 1MB",
        "stream add N --subjects n --defaults --metadata io.nats.monitor.msgs-critical=5",
        "consumer add A C --pull --defaults",
        "kv add B",
        "kv put B key value",
        "server check connection",
        "server check conn --connect-warn 1ns",
        "server check conn --rtt-critical 1ns",
        "server check connection --format json",
        "server check connection --format text",
        "server check connection --format prometheus --rtt-critical 1ns",
        "server check connection --format other",
        "server check connection --server nats://127.0.0.1:1",
        "server check stream --stream A",
        "server check stream --stream A --msgs-warn 5",
        "server check stream --stream A --msgs-critical 2",
        "server check stream --stream A --msgs-critical 1 --msgs-warn 1",
        "server check stream --stream A --subjects-warn 1 --subjects-critical 5",
        "server check stream --stream A --subjects-warn 1 --subjects-critical 2",
        "server check stream --stream A --subjects-warn 5 --subjects-critical 1",
        "server check stream --stream A --subjects-critical 10",
        "server check stream --stream A --lag-critical 5",
        "server check stream --stream M --lag-critical 5",
        "server check stream --stream M --seen-critical 1h",
        "server check stream --stream S --lag-critical 5 --min-sources 1",
        "server check stream --stream S --min-sources 2",
        "server check stream --stream S --max-sources 1",
        "server check stream --stream N",
        "server check stream --stream nothing",
        "server check stream",
        "server check consumer --stream A --consumer C",
        "server check consumer --stream A --consumer C --unprocessed-critical 2",
        "server check consumer --stream A --consumer C --unprocessed-critical 3 --waiting-critical 1",
        "server check consumer --stream A --consumer C --last-delivery-critical 1h",
        "server check consumer --stream A --consumer C --last-ack-critical 1h",
        "server check consumer --stream A --consumer C --pinned",
        "consumer next A C",
        "server check consumer --stream A --consumer C --last-delivery-critical 1h --last-ack-critical 1h",
        "server check consumer --stream A --consumer C --outstanding-ack-critical 1 --redelivery-critical 1",
        "server check consumer --stream A --consumer nothing",
        "server check consumer --stream A",
        "server check message --stream A --subject a.x",
        "server check message --stream A --subject a.x --content '^one$'",
        "server check message --stream A --subject a.x --content two",
        "server check message --stream A --subject a.x --age-critical 1ns",
        "server check message --stream A --subject a.x --age-warn 1ns --age-critical 1h",
        "server check message --stream A --subject a.x --body-timestamp",
        "server check message --stream A --subject a.nothing",
        "server check message --stream A",
        "server check message --stream A --subject a.x --content '('",
        "server check request --subject $JS.API.INFO",
        "server check req --subject $JS.API.INFO --match-payload streams",
        "server check request --subject $JS.API.INFO --match-payload nonsense",
        "server check request --subject $JS.API.INFO --response-critical 1ns",
        "server check request --subject $JS.API.INFO --response-warn 1ns --headers A=1",
        "server check request --subject nobody.here --timeout 500ms",
        "server check request",
        "server check jetstream",
        "server check js --mem-warn 50 --mem-critical 20",
        "server check jetstream --format json",
        "server check kv --bucket B",
        "server check kv --bucket B --key key",
        "server check kv --bucket B --key nothing",
        "server check kv --bucket B --values-warn 1 --values-critical 5",
        "server check kv --bucket B --values-warn 0 --values-critical 1",
        "server check kv --bucket B --values-critical 1",
        "server check kv --bucket B --values-warn 5",
        "server check kv --bucket B --values-warn 5 --values-critical 1",
        "server check kv --bucket B --values-warn 5 --values-critical 0",
        "server check kv --bucket nothing",
        "server check kv --bucket B --outfile result.txt",
        "server check",
    ],
}
"""Command lines of each scenario, run in sequence."""

ONLY_THERE = [
    f"server info tested {SYSTEM}",
    f"server info {SYSTEM}",
    f"server info nobody {SYSTEM}",
    f"server request variables {SYSTEM} 1",
    f"server request connections {SYSTEM} 1",
    f"server req accounts {SYSTEM} 1",
    f"server request jetstream {SYSTEM} 1",
    f"server request subscriptions {SYSTEM} 1",
]
"""Command lines about monitoring data that only the real server provides over NATS."""

BETTER = frozenset(
    {
        # Without an answer, the tool prints a message but does not fail.
        "server ls --timeout 300ms",
    }
)
"""Lines whose exit codes may differ, because of bugs in the tool."""


@pytest.fixture(scope="module")
def server(stonechat_program: Path) -> Iterator[ServerProcess]:
    with ServerProcess(stonechat_program, SYSTEM_CONFIG) as server:
        yield server


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_lines_have_the_same_results(name: str, command: Path, either_program: Path) -> None:
    """Exit codes, including those for warnings, and JSON keys are the same as with the tool, on both servers."""
    differing = compare(
        either_program, command, SCENARIOS[name], better=BETTER, config=SYSTEM_CONFIG, exact="server check"
    )
    assert not differing, differing


def test_the_real_server_tells_more(command: Path, oracle_program: Path) -> None:
    """Variables, connections and other monitoring data are requested and shown as in the tool."""
    tool_or_skip()
    differing = compare(oracle_program, command, ONLY_THERE, config=SYSTEM_CONFIG)
    assert not differing, differing
    with ServerProcess(oracle_program, SYSTEM_CONFIG) as server:
        told = execute(command, f"server info tested {SYSTEM}", server)
        assert b"Server information for tested" in told.stdout
        [answer] = execute(command, f"server request connections 1 {SYSTEM}", server).stdout.splitlines()
        assert json.loads(answer)["data"]["connections"]


def test_our_server_is_listed_pinged_and_shown(command: Path, server: ServerProcess) -> None:
    """Our server is shown as tables and as JSON. Without a system account, the error says what is missing."""

    def told(line: str) -> list[dict[str, Any]]:
        return lines(command, f"{line} {SYSTEM} --json", server)

    assert [answer["server"]["name"] for answer in told("server ls")] == ["tested"]
    assert [answer["name"] for answer in told("server ping")] == ["tested"]
    assert b"tested" in execute(command, f"server ls {SYSTEM}", server).stdout
    shown = execute(command, f"server info {SYSTEM}", server).stdout
    assert b"Server information for tested" in shown
    assert b"JetStream: true" in shown
    [statistics] = told("server request statistics")
    assert statistics["server"]["name"] == "tested"
    refused = execute(command, "server ls --timeout 300ms", server)
    assert refused.returncode == 1
    assert b"must be of the system account" in refused.stderr


def test_results_have_the_forms_of_monitoring_systems(command: Path, server: ServerProcess) -> None:
    """Checks print the formats of Nagios and Prometheus, JSON and text, also into a file."""
    assert execute(command, "stream add F --subjects f --defaults", server).returncode == 0
    line = "server check stream --stream F --msgs-critical 5"
    assert (
        execute(command, line, server).stdout == b"CRITICAL F Crit:0 messages OK:0 sources | messages=0;;5 sources=0\n"
    )
    prometheus = execute(command, f"{line} --format prometheus --namespace mine", server)
    assert prometheus.returncode == 0
    assert b'mine_stream_messages{item="F"} 0\n' in prometheus.stdout
    assert b'mine_stream_status_code{item="F",status="CRITICAL"} 2\n' in prometheus.stdout
    assert json.loads(execute(command, f"{line} --json", server).stdout)["critical"] == ["0 messages"]
    assert execute(command, f"{line} --outfile result.txt", server).returncode == 2
    assert (server.directory / "result.txt").read_text().startswith("CRITICAL F")


def test_flags_of_the_server_pass(command: Path, server: ServerProcess) -> None:
    """`server` and `server run` with flags run the server itself."""
    for line in ("server --help", "server run --help"):
        assert b"-p" in execute(command, line, server).stdout
    assert execute(command, "server -t -c nothing.conf", server).returncode != 0
