"""`stonechat bench`: the measurements and their figures, on our server and on the real one."""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.clients.command_lines import CONFIG, command_environment, execute, lines, tool_or_skip
from tests.clients.terminals import Terminal
from tests.support.certificates import Certificates
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEASUREMENTS = {
    "pub b.core --msgs 1001 --clients 2": 1001,
    "pub b.core --msgs 500 --multisubject --multisubjectmax 10 --multisubjectrandomize -H Kind:test": 500,
    "pub b.core --throughput 2000 --duration 250ms": 500,
    "js pub sync b.js --create --msgs 50 --dedup": 50,
    "js pub async b.js --msgs 1500 --batch 100 --clients 2": 1500,
    "js pub batch b.js --msgs 250 --batch 100": 250,
    "js pub atomic b.js --msgs 200 --batch 100 --clients 2": 200,
    "js ordered --msgs 1000 --clients 2": 2000,
    "js consume --msgs 500 --batch 50": 500,
    "js fetch --msgs 500 --batch 50 --clients 2": 500,
    "js fetch --consumer all --acks all --msgs 2000 --batch 100": 2000,
    "js consume --consumer none --acks none --msgs 2000": 2000,
    "js fetch --consumer double --doubleack --msgs 50 --batch 10": 50,
    "js get sync --msgs 300 --clients 2": 600,
    "js get batch --msgs 4500 --batch 200": 4500,
    "kv put --msgs 100 --clients 3 --history 2": 100,
    "kv put --msgs 50 --randomize 10": 50,
    "kv get --msgs 100": 100,
    "kv get --msgs 100 --randomize 10 --clients 2": 100,
    "kv put --bucket other --storage memory --purge --msgs 20 --size 1KB": 20,
}
"""Command lines that are run in sequence, with the number of messages of each."""

SAME_ENDS = [
    "bench pub a --msgs 100",
    "bench pub a --msgs 100 --duration 1s",
    "bench js pub sync a --msgs 10",
    "bench js pub sync a --msgs 10 --create --no-progress",
    "bench js pub async a --msgs 100 --batch 10 --clients 2",
    "bench js pub batch a --msgs 100 --batch 10",
    "bench js fetch --msgs 100 --batch 10",
    "bench js consume --msgs 100 --acks none",
    "bench js consume --msgs 50",
    "bench js ordered --msgs 100",
    "bench js get sync --msgs 10",
    "bench js get batch --msgs 100",
    "bench js get sync --msgs 10 --stream nothing",
    "bench js nonsense",
    "bench kv get --msgs 10",
    "bench kv put --msgs 10",
    "bench kv get --msgs 10",
    "bench service request nobody --msgs 10",
    "bench pub a --msgs 10 --server nats://127.0.0.1:1",
]


def test_each_measurement_counts_its_messages(command: Path, either_program: Path) -> None:
    """The figures are totals of all clients, and the messages are stored."""
    with ServerProcess(either_program, CONFIG) as server:
        for line, messages in MEASUREMENTS.items():
            [told] = lines(command, f"bench {line} --json", server)
            assert told["messages"] == messages, line
            assert told["rate"] > 0, line
            assert sum(client["messages"] for client in told["clients"]) == messages, line
            latency = told.get("latency")
            if latency is not None:
                assert latency["min_us"] <= latency["p50_us"] <= latency["p99_us"] <= latency["max_us"], line
                assert sum(row["count"] for row in latency["histogram"]) == latency["count"], line
        stream = json.loads(execute(command, "stream info benchstream --json", server).stdout)
        assert stream["state"]["messages"] == 2000
        assert stream["state"]["consumer_count"] == 4, "those of ordered readers are gone"
        bucket = json.loads(execute(command, "kv info benchbucket --json", server).stdout)
        assert bucket["stream"]["state"]["num_subjects"] == 100


def test_lines_end_as_those_of_the_tool(command: Path, either_program: Path) -> None:
    """Each line succeeds or fails as in `nats bench`, and creates streams with the same names."""
    tool = tool_or_skip()
    with ServerProcess(either_program, CONFIG) as theirs, ServerProcess(either_program, CONFIG) as ours:
        for line in SAME_ENDS:
            expected, got = execute(tool, line, theirs, timeout=60), execute(command, line, ours, timeout=60)
            assert bool(expected.returncode) == bool(got.returncode), (line, expected, got)
        line = "stream ls -a --names --json"
        assert lines(command, line, theirs) == lines(command, line, ours)
        # The tool does not delete its ordered consumers; they expire after some seconds.
        assert lines(command, "consumer ls benchstream --names --json", ours) == [{"name": "nats-bench"}]


@contextlib.contextmanager
def listening(command: Path, line: str, server: ServerProcess) -> Iterator[subprocess.Popen[str]]:
    """Starts a measurement that waits for other clients, and yields when it is listening."""
    process = subprocess.Popen(
        [command, *shlex.split(line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=command_environment(server),
        cwd=server.directory,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() != ""
        yield process
    finally:
        process.kill()
        process.wait()


def told(process: subprocess.Popen[str]) -> Any:
    """Waits for the end of a measurement and returns its figures."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)


def test_subscribers_count_what_publishers_send(command: Path, server: ServerProcess) -> None:
    """Each subscriber gets all messages, also those on many subjects."""
    with listening(command, "bench sub s.x --msgs 2000 --clients 2 --json", server) as subscribers:
        lines(command, "bench pub s.x --msgs 2000 --size 16 --clients 3 --json", server)
        figures = told(subscribers)
    assert (figures["messages"], figures["bytes"]) == (4000, 4000 * 16)
    with listening(command, "bench sub s.y --multisubject --msgs 100 --json", server) as subscriber:
        lines(command, "bench pub s.y --multisubject --msgs 100 --json", server)
        assert told(subscriber)["messages"] == 100


def test_requests_are_served_until_ctrl_c(command: Path, server: ServerProcess) -> None:
    """Service instances share the requests; Ctrl-C ends them with exit code 0 and their figures."""
    with listening(command, "bench service serve svc --clients 2 --size 20 --json", server) as service:
        [figures] = lines(command, "bench service request svc --msgs 300 --clients 2 --json", server)
        assert figures["latency"]["count"] == 300
        service.send_signal(signal.SIGINT)
        assert told(service)["messages"] == 300
    with listening(command, "bench sub nothing.comes", server) as subscriber:
        subscriber.send_signal(signal.SIGINT)
        assert subscriber.wait(60) == 130


@pytest.mark.parametrize("entries", ["", "handshake_first: true", "verify: true"])
def test_encrypted_connections_are_measured(entries: str, command: Path, tmp_path: Path, either_program: Path) -> None:
    """Measurements work over TLS: messages in both directions, messages above the size of a TLS record, and streams."""
    certificates = Certificates(tmp_path)
    config = CONFIG + "\n" + certificates.block(f'ca_file: "{certificates.authority_file}"', entries)
    trust = f"--tlsca {certificates.authority_file} --json"
    trust += " --tlsfirst" if "first" in entries else ""
    key = f" --tlscert {certificates.client_certificate_file} --tlskey {certificates.client_key_file}"
    trust += key if "verify" in entries else ""
    with ServerProcess(either_program, config) as server:
        with listening(command, f"bench sub s.x --msgs 2000 {trust}", server) as subscriber:
            lines(command, f"bench pub s.x --msgs 2000 --size 100KB --clients 2 {trust}", server)
            assert told(subscriber)["bytes"] == 2000 * 100 * 1024
        [figures] = lines(command, f"bench js pub async s.y --create --msgs 1000 --clients 2 {trust}", server)
        assert figures["messages"] == 1000
        assert (
            json.loads(execute(command, f"stream info benchstream {trust}", server).stdout)["state"]["messages"] == 1000
        )


def test_a_server_that_is_not_trusted_is_not_measured(command: Path, tmp_path: Path, start_server: Any) -> None:
    """Wrong or missing certificates of server and client, and files without a certificate, are errors."""
    certificates = Certificates(tmp_path)
    server = start_server(certificates.block(f'ca_file: "{certificates.authority_file}"', "verify: true"))
    (tmp_path / "strange").mkdir()
    stranger = Certificates(tmp_path / "strange")
    empty = tmp_path / "empty.pem"
    empty.touch()
    trust = f"--tlsca {certificates.authority_file}"
    own = f"--tlscert {stranger.client_certificate_file} --tlskey {stranger.client_key_file}"
    for flags, said in {
        "": "TLS: invalid peer certificate",
        f"--tlsca {stranger.authority_file}": "TLS: invalid peer certificate",
        f"--tlsca {empty}": "empty.pem: it holds no certificate",
        f"--tlsca {tmp_path}/nothing.pem": "nothing.pem",
        trust: "certificate",
        f"{trust} {own}": "fatal alert",
        f"{trust} --tlscert {empty} --tlskey {stranger.client_key_file}": "empty.pem",
        f"{trust} --tlscert {stranger.client_certificate_file} --tlskey {empty}": "no key",
    }.items():
        done = execute(command, f"bench pub a --msgs 10 {flags}", server)
        assert (done.returncode, done.stdout) == (1, b""), flags
        assert said.lower() in done.stderr.decode().lower(), (flags, done.stderr)


def test_two_servers_are_compared(command: Path, server: ServerProcess, oracle_program: Path) -> None:
    """One run measures both servers: it prints their figures side by side, and writes a plot and a CSV file of both."""
    with ServerProcess(oracle_program, CONFIG) as other:
        url = f"nats://127.0.0.1:{other.port}"
        line = f"bench kv put --msgs 300 --clients 2 --compare {url} --plot both.svg --csv both.csv"
        shown = execute(command, line, server)
        assert shown.returncode == 0, shown.stderr
        assert f"127.0.0.1:{other.port} beside 127.0.0.1:{server.port}" in shown.stdout.decode()
        first, second = lines(command, f"bench pub c --msgs 100 --compare {url} --json", server)
    assert (first["server"], second["server"]) == (f"127.0.0.1:{server.port}", f"127.0.0.1:{other.port}")
    assert second["compared"]["server"] == first["server"]
    picture = ET.parse(server.directory / "both.svg")
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4
    rows = list(csv.DictReader((server.directory / "both.csv").read_text().splitlines()))
    assert [row["MsgCount"] for row in rows] == ["150"] * 4


@pytest.mark.parametrize("columns", [80, 160])
def test_figures_fit_the_terminal(columns: int, command: Path, server: ServerProcess) -> None:
    """Progress is shown on terminals, and no line is too wide; `NO_COLOR` turns colours off."""
    line = "bench pub slow --msgs 30 --sleep 50ms"
    with Terminal(command, line, server, columns=columns, environment={"NO_COLOR": "1"}) as terminal:
        assert "[" in terminal.wait_for(" of 30")
        screen = terminal.rest().split("\x1b[K")[-1]
    assert "p99.9" in screen
    assert "█" in screen
    assert "\x1b[3" not in screen
    assert max(map(len, screen.splitlines())) <= columns
    assert execute(command, "bench pub fast --msgs 10", server).stderr == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("js fetch --msgs 100000", "holds 10 messages, not 100000"),
        ("js pub sync other --msgs 1", "no stream takes the subject"),
        ("js pub batch e.js --batch 1001", "has 1000 messages at most"),
        ("js ordered --stream nothing", 'stream nothing not found; "stonechat bench js pub async'),
        ("kv get --bucket nothing", 'bucket nothing not found; "stonechat bench kv put"'),
        ("service request nobody", "nobody answers"),
        ("pub e --tls", "the server speaks no TLS"),
        ("pub e --user joe --password wrong", ""),
    ],
)
def test_errors_say_what_to_do(line: str, said: str, command: Path, start_server: Any) -> None:
    """An error is one sentence on standard error, with nothing on standard output."""
    server = start_server("jetstream { store_dir: js }\nauthorization { user: joe, password: right }\n")
    login = "" if "--user" in line else " --user joe --password right"
    assert execute(command, f"bench js pub sync e.js --create --msgs 10{login}", server).returncode in (0, 1)
    done = execute(command, f"bench {line}{login} --timeout 5s", server)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in done.stderr.decode()


def test_a_server_that_refuses_is_quoted(command: Path, start_server: Any) -> None:
    """Refused logins, forbidden subjects and too long messages are errors that quote the server."""
    server = start_server(
        'max_payload: 1000\nauthorization { users: [{ user: joe, password: pw, permissions: { publish: "ok.>" } }] }\n'
    )
    for line, said in {
        "pub ok.x --password wrong": "Authorization Violation",
        "pub no.x --password pw": "Permissions Violation",
        "pub ok.x --password pw --size 2000": "Maximum Payload",
    }.items():
        done = execute(command, f"bench {line} --user joe --msgs 10", server)
        assert done.returncode == 1, line
        assert said.lower() in done.stderr.decode().lower(), (line, done.stderr)
