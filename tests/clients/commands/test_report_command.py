"""`stonechat server report` and `account report` have the same columns, keys and exit codes as those of `nats`."""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import SYSTEM_CONFIG, compare, execute, json_keys, lines, tool_or_skip
from tests.clients.terminals import Terminal
from tests.support.process import LOOPBACK, ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMBER = """
    accounts { SYS: { users: [{ user: sys, password: pw }] } }
    system_account: SYS
"""
SYSTEM = "--user sys --password pw --timeout 20s"
SILENT = "--user sys --password pw --timeout 5s"
"""Credentials and timeout for requests that no server answers: the tools wait for the whole timeout."""

LONG = "a_rather_long_name_that_somebody_has_chosen_without_a_thought"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

TABLES = [
    f"server report accounts {SYSTEM}",
    f"server report connections {SYSTEM}",
    f"server report connections --state all {SYSTEM}",
    f"server report jetstream {SYSTEM}",
    f"server report jetstream --account APP {SYSTEM}",
    f"server report health {SYSTEM}",
    f"server report gateways {SYSTEM}",
    f"server report leafnodes {SYSTEM}",
    f"server report routes {SYSTEM}",
    "account report connections",
    "account report statistics",
]
"""Command lines that print tables."""

SCENARIO = [
    "stream add A --subjects a.> --defaults",
    "pub a.x one",
    *TABLES,
    f"server rep acct {SYSTEM} --sort conns --top 1",
    f"server report accounts SYS {SYSTEM} --json",
    f"server report accounts NONE {SYSTEM}",
    f"server report conns 1 {SYSTEM} --sort cid -R --top 1",
    f"server report conn {SYSTEM} --state closed --closed-reason 'client closed' --sort uptime",
    f"server report connz {SYSTEM} --username sys --account SYS",
    f"server report conns {SYSTEM} --subject a.x",
    f"server report conns {SYSTEM} --subject nobody.listens",
    f"server report conns {SYSTEM} --sort nothing",
    f"server report conns {SILENT} --host nobody",
    f"server report cpu {SYSTEM}",
    f"server report cpu {SILENT} --json --host nobody",
    f"server report mem {SYSTEM} --json",
    f"server report mem 1 {SYSTEM}",
    f"server report health --stream A --account APP {SYSTEM}",
    f"server report health --stream B --account APP {SYSTEM}",
    f"server report health -J -S {SYSTEM}",
    f"server report health --host nobody {SILENT}",
    f"server report jsz --sort bytes {SYSTEM}",
    f"server report js --host nobody {SILENT}",
    f"server report routes --sort subs {SYSTEM}",
    f"server report super --sort server --filter-name X {SYSTEM}",
    f"server report leafz --sort name {SYSTEM}",
    f"server report nothing {SYSTEM}",
    "server report cpu --timeout 300ms",
    "account rep conn --state all --sort out-bytes --top 2",
    "account report conns --username nobody",
    "account report stats",
    "account report nothing",
]
"""Command lines that are run in sequence, in both tools."""


@pytest.fixture(scope="module")
def real(oracle_program: Path) -> Iterator[ServerProcess]:
    """The real server, with a stream and a client that has a long name."""
    with (
        ServerProcess(oracle_program, SYSTEM_CONFIG) as server,
        socket.create_connection((LOOPBACK, server.port)) as client,
    ):
        greeting = json.dumps({"verbose": False, "name": LONG, "lang": "py", "version": "1"})
        client.sendall(f"CONNECT {greeting}\r\nSUB {LONG}.> 1\r\nPING\r\n".encode())
        wait_for(
            lambda: [one["subscriptions"] for one in server.get_json("/connz")["connections"]] == [1], "the client"
        )
        yield server


def cells(output: bytes) -> list[list[str]]:
    """Returns the rows of all tables in an output."""
    rows = [re.split("[│┆┊]", line)[1:-1] for line in output.decode().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if row]


def headers(output: bytes) -> list[list[str]]:
    """Returns the first row of each of our tables."""
    tables = output.decode().split("╭")[1:]
    return [cells(table.encode())[0] for table in tables]


def test_the_same_lines_have_the_same_results(command: Path, oracle_program: Path) -> None:
    """Exit codes, JSON keys and stored data are the same as with the tool, on the real server."""
    differing = compare(oracle_program, command, SCENARIO, config=SYSTEM_CONFIG)
    assert not differing, differing


@pytest.mark.parametrize("line", TABLES)
def test_tables_have_the_columns_of_the_tool(line: str, command: Path, real: ServerProcess) -> None:
    """Our tables have the columns of the tool, in the same order."""
    tool = tool_or_skip()
    expected, got = execute(tool, line, real), execute(command, line, real)
    assert (expected.returncode, got.returncode) == (0, 0), (expected, got)
    ours, theirs = headers(got.stdout), cells(expected.stdout)
    assert ours
    assert [row for row in ours if row not in theirs] == []
    assert expected.stdout.decode().count("╭") == len(ours)


def test_json_has_the_keys_of_the_tool(command: Path, real: ServerProcess) -> None:
    """The JSON keys are those of the tool; ours prints one object per line, the tool one list."""
    tool = tool_or_skip()
    for line in (f"server report connections {SYSTEM} --json", f"server report accounts {SYSTEM} --json"):
        theirs = json.loads(execute(tool, line, real).stdout)
        ours = lines(command, line, real)
        expected, got = (json_keys(sorted(told, key=lambda item: item["account"])) for told in (theirs, ours))
        assert not expected - got
    [told] = lines(command, f"server report jetstream {SYSTEM} --json", real)
    assert told["data"]["server_id"]
    [told] = lines(command, f"server report health {SYSTEM} --json", real)
    assert told["data"]["status_code"] == 200
    [told] = lines(command, "account report statistics --json", real)
    assert told["data"]["account_statz"][0]["conns"] >= 1


def test_reports_show_what_is_there(command: Path, real: ServerProcess) -> None:
    """Reports show the client with name and account, counts and totals."""

    def rows(line: str) -> list[list[str]]:
        done = execute(command, line, real)
        assert done.returncode == 0, done.stderr
        return cells(done.stdout)

    told = rows(f"server report connections --account APP {SYSTEM}")
    [client] = [row for row in told if row[1].startswith(LONG[:20])]
    assert (client[2], client[5], client[11]) == ("tested", "APP", "1")
    assert any("Totals for" in row[1] for row in rows(f"server report connections --state all {SYSTEM}"))
    assert [row[0] for row in rows(f"server report accounts --sort subs -R {SYSTEM}") if row[0] == "APP"] == ["APP"]
    # `--top` keeps the rows with the highest values.
    [_, only] = rows(f"server report connections --sort cid --top 1 {SYSTEM}")[:2]
    assert not only[1].startswith(LONG[:20])
    [_, only] = rows(f"server report connections --sort cid --top 1 -R {SYSTEM}")[:2]
    assert not only[1].startswith(LONG[:20])
    statistics = rows("account report statistics")
    assert int(statistics[1][4]) >= 1
    assert statistics[-1][4] == statistics[1][4]
    for kind in ("cpu", "mem"):
        assert b"tested: " in execute(command, f"server report {kind} {SYSTEM}", real).stdout
    told = rows(f"server report health --stream NONE --account APP {SYSTEM}")
    assert [row for row in told[1:] if row[4] and row[5]], told


def test_our_server_says_what_it_does_not_answer(command: Path, stonechat_program: Path) -> None:
    """Our server answers reports about processors and memory; others are one-sentence errors with exit code 1."""
    with ServerProcess(stonechat_program, SYSTEM_CONFIG) as server:
        for kind in ("cpu", "mem"):
            done = execute(command, f"server report {kind} {SYSTEM}", server)
            assert (done.returncode, b"tested: " in done.stdout) == (0, True), done
        assert json.loads(execute(command, f"server report mem {SYSTEM} --json", server).stdout)["tested"] > 0
        for line, said in {
            f"server report connections {SYSTEM}": "the server must know the request",
            f"server report jetstream {SYSTEM}": "the server must know the request",
            f"server report routes {SYSTEM}": "the server must know the request",
            "account report connections": "it tells nothing about accounts",
            "account report statistics": "it tells nothing about accounts",
        }.items():
            done = execute(command, line, server)
            assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1), (line, done)
            assert said in done.stderr.decode(), (line, done)


def test_clusters_are_shown(command: Path, oracle_program: Path) -> None:
    """Reports show routes and connections of both members of a cluster."""
    with ExitStack() as stack:
        listen = f"cluster {{ name: C, listen: '{LOOPBACK}:-1'"
        first = stack.enter_context(ServerProcess(oracle_program, f"server_name: n1.example.net\n{MEMBER}{listen} }}"))
        port = first.get_json("/varz")["cluster"]["cluster_port"]
        routes = f"{MEMBER}{listen}, routes: ['nats://{LOOPBACK}:{port}'] }}"
        stack.enter_context(ServerProcess(oracle_program, f"server_name: n2.example.net\n{routes}"))

        def known() -> int:
            return int(lines(command, f"server list 1 {SYSTEM} --json", first)[0]["statsz"]["active_servers"])

        wait_for(lambda: known() == 2, "both servers")
        shown = execute(command, f"server report routes 2 {SYSTEM}", first).stdout
        assert b"rid:" in shown
        assert b"n1.example.net" in shown
        assert b"n2.example.net" in shown
        assert len(lines(command, f"server report health 2 {SYSTEM} --json", first)) == 2
        one = execute(command, f"server report health {SYSTEM} --json --host n2.example.net", first).stdout
        assert [json.loads(line)["server"]["name"] for line in one.splitlines()] == ["n2.example.net"]


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("line", TABLES)
def test_a_report_fits_the_terminal(line: str, columns: int, command: Path, real: ServerProcess) -> None:
    """No line is wider than the terminal."""
    with Terminal(command, line, real, columns=columns, rows=50) as terminal:
        screen = ESCAPES.sub("", terminal.rest())
    assert "╭" in screen
    assert [text for text in screen.splitlines() if len(text) > columns] == [], screen


def test_what_goes_on_until_ctrl_c(command: Path, real: ServerProcess) -> None:
    """Watched reports and graphs run until Ctrl-C."""
    for line, expected in {
        f"server report mem --watch 1 {SYSTEM}": "Memory Usage",
        f"server graph tested {SYSTEM}": "Subscriptions",
        f"server graph --jetstream tested {SYSTEM}": "API Requests / second",
    }.items():
        with Terminal(command, line, real) as terminal:
            terminal.wait_for(expected)
            terminal.wait_for(expected)
            terminal.interrupt()
            assert terminal.code() == 130, line
    refused = execute(command, f"server graph tested {SYSTEM}", real)
    assert (refused.returncode, b"need a terminal" in refused.stderr) == (1, True)
    with Terminal(command, f"server graph nobody {SILENT}", real) as terminal:
        terminal.wait_for('no server "nobody" answers')
        assert terminal.code() == 1
