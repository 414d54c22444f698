"""`stonechat top` on terminals of 80 and 160 columns, compared with the saved screens next to this file."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import SYSTEM_CONFIG, execute
from tests.clients.terminals import Screen
from tests.support.certificates import Certificates
from tests.support.process import LOOPBACK, ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SCREENS = Path(__file__).parent / "screens"
KEEP = os.environ.get("STONECHAT_KEEP_SCREENS") == "1"
"""Whether the saved screens are rewritten instead of compared."""

CONFIG = SYSTEM_CONFIG.replace("tested", "watched")
HOSTILE = "a\\u001b[2J\\u0007name"
VIEWS = ["connections", "streams", "consumers", "buckets", "slow"]
MORE = 5000
"""Number of connections in the test of a large server."""


def connected(server: ServerProcess, name: str, *subjects: str) -> socket.socket:
    """Returns a client with a name and subscriptions, which the server has handled."""
    client = socket.create_connection((LOOPBACK, server.port))
    subscriptions = "".join(f"SUB {subject} {sid}\r\n" for sid, subject in enumerate(subjects, 1))
    client.sendall(
        f'CONNECT {{"verbose":false,"name":"{name}","lang":"py","version":"1"}}\r\n{subscriptions}PING\r\n'.encode()
    )
    received = b""
    while b"PONG" not in received:
        read = client.recv(65536)
        assert read, received
        received += read
    return client


def prepare(server: ServerProcess, command: Path, stack: ExitStack) -> None:
    """Creates streams, a consumer, buckets, and clients, one of them with control characters in its name."""
    for line in (
        "stream add ORDERS --subjects 'orders.>' --defaults",
        *(f"pub orders.{i} {'x' * 100}" for i in range(3)),
        "stream add EVENTS --subjects 'events.>' --defaults --storage memory",
        "consumer add ORDERS BILLING --pull --defaults",
        "consumer add EVENTS AUDIT --target audit.here --defaults",
        "consumer next ORDERS BILLING --no-ack",
        "kv add CONFIG --history 3",
        "kv put CONFIG db.url pg://one",
        "object add FILES",
    ):
        assert execute(command, line, server).returncode == 0, line
    stack.enter_context(connected(server, "worker", "jobs.>", "audit.here"))
    stack.enter_context(connected(server, HOSTILE, "x"))


@pytest.fixture(scope="module")
def watched(stonechat_program: Path, command: Path) -> Iterator[ServerProcess]:
    with ServerProcess(stonechat_program, CONFIG) as server, ExitStack() as stack:
        prepare(server, command, stack)
        yield server


def masked(screen: str) -> str:
    """Returns a screen without the parts that differ in each run: numbers, times, widths."""
    screen = re.sub(r"[▁▂▃▄▅▆▇█]+", "", screen)
    screen = re.sub(r"(?<![\w#])(?:[\d.]+(?:ns|µs|ms|s|m|h|d))+(?!\w)", "#", screen)
    screen = re.sub(r"\d[\d,.]*(?: ?(?:[KMG]iB|B)\b)?", "#", screen)
    return "\n".join(re.sub(r" +", " ", line).strip() for line in screen.splitlines())


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_its_screen(view: str, columns: int, command: Path, watched: ServerProcess) -> None:
    """Each view fits 80 and 160 columns, and names are escaped."""
    line = f"top http://{LOOPBACK}:{watched.monitor_port} --interval 200ms --view {view}"
    with Screen(command, line, watched, columns=columns) as screen:
        rows = {"connections": 2, "streams": 4, "consumers": 2, "buckets": 2, "slow": 0}[view]
        shown = screen.wait_until(lambda text: f" {rows} rows" in text and "q quit" in text, "all rows")
        kept = SCREENS / f"top-{view}-{columns}.txt"
        if KEEP:
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(shown + "\n")
        assert masked(shown) == masked(kept.read_text().rstrip("\n"))
        assert "\x1b" not in shown
        screen.press("q")
        assert screen.code() == 0


def first_row(screen: str) -> str:
    """Returns the first row of the table."""
    lines = screen.splitlines()
    return lines[6] if len(lines) > 6 else ""


def test_keys_sort_filter_open_and_pause(command: Path, watched: ServerProcess) -> None:
    """The keys that the footer lists work."""
    line = f"top http://{LOOPBACK}:{watched.monitor_port} --interval 100ms"
    with Screen(command, line, watched, columns=100) as screen:
        screen.wait_for("worker")
        screen.press("2")
        screen.wait_until(lambda text: first_row(text).startswith("ORDERS"), "most messages first")
        screen.press("r")
        screen.wait_until(lambda text: not first_row(text).startswith("ORDERS"), "fewest messages first")
        screen.press("r\r")
        screen.wait_for('1 rows with "ORDERS"')
        assert "BILLING" in screen.text
        screen.press("\r")
        screen.wait_for("ORDERS > BILLING")
        screen.wait_for("stream_name: ORDERS")
        screen.press("\x1b")
        # A screen is drawn from the top, so the footer may still be that of the previous screen.
        screen.wait_until(lambda text: "q quit" in text and "ORDERS > " not in text, "the table")
        screen.press("/\x7f\x7f\x7f\x7f\x7f\x7fAUD")
        screen.wait_for("filter: AUD")
        screen.press("\r")
        screen.wait_for('1 rows with "AUD"')
        screen.press("\x1b")
        screen.wait_until(lambda text: " 2 rows" in text and "with" not in text, "no filter")
        screen.press("1/worker\r")
        screen.wait_for('1 rows with "worker"')
        screen.press("\r")
        screen.wait_for("name: worker")
        screen.press("G")
        screen.wait_for("subscriptions_list: ")
        assert "jobs.>" in screen.text
        screen.press("q")
        screen.wait_until(lambda text: "q quit" in text and "jobs.>" not in text, "the table")
        screen.press("p")
        screen.wait_for("PAUSED")
        screen.press("p")
        screen.wait_until(lambda text: "PAUSED" not in text, "the end of the pause")
        screen.press("\x03")
        assert screen.code() == 130


def test_five_thousand_connections(command: Path, stonechat_program: Path) -> None:
    """All connections are listed, sorted and filtered, and keys still work."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MORE + 1000:
        pytest.skip(f"{hard} open files are too few for {MORE} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MORE + 1000), hard))
    with ServerProcess(stonechat_program) as server, ExitStack() as stack:
        for i in range(MORE):
            client = stack.enter_context(socket.create_connection((LOOPBACK, server.port)))
            client.sendall(f'CONNECT {{"verbose":false,"name":"client{i:04}"}}\r\n'.encode())
        variables = f"http://{LOOPBACK}:{server.monitor_port}"
        wait_for(lambda: server.get_json("/varz")["connections"] == MORE, "all connections")
        with Screen(command, f"top {variables}", server) as screen:
            screen.wait_for(f"{MORE:,} rows")
            screen.press("s" * 3)
            screen.press("G")
            screen.wait_until(lambda text: f"{MORE:,} rows" in text, "the end")
            screen.press("/client4999\r")
            screen.wait_until(lambda text: "  1 rows with" in text and "client4999 " in text, "the last one")
            screen.press("q")
            assert screen.code() == 0


def test_the_system_account_is_asked(command: Path, oracle_program: Path) -> None:
    """nats-server also sends its figures over NATS, to the system account; the screens are the same."""
    with ServerProcess(oracle_program, CONFIG) as server, ExitStack() as stack:
        prepare(server, command, stack)
        with Screen(command, "top --user sys --password pw --view streams --interval 100ms", server) as screen:
            screen.wait_for("the system account")
            screen.wait_for(" 4 rows")
            assert "ORDERS" in screen.text
            screen.press("1")
            screen.wait_for("worker")
            screen.press("q")
            assert screen.code() == 0


def test_without_a_terminal(command: Path, watched: ServerProcess) -> None:
    """Without a terminal, `--json` prints the figures; without that flag, an error says what is missing."""
    url = f"http://{LOOPBACK}:{watched.monitor_port}"
    told = json.loads(execute(command, f"top {url} --json", watched).stdout)
    assert told["varz"]["server_name"] == "watched"
    assert len(told["connz"]["connections"]) == 2
    assert told["jsz"]["streams"] == 4
    for line, said in {
        f"top {url}": "top needs a terminal",
        f"top http://{LOOPBACK}:{watched.port} --json": "no monitoring port",
        f"top http://{LOOPBACK}:1 --json": "cannot connect",
        f"top https://{LOOPBACK}:{watched.monitor_port} --json": "TLS: ",
        "top --user sys --password pw --json": "its monitoring port alone",
        "top --user app --password pw --json --timeout 300ms": "system account",
    }.items():
        done = execute(command, line, watched)
        assert (done.returncode, done.stdout) == (1, b""), line
        assert said in done.stderr.decode(), (line, done.stderr)


def test_an_encrypted_monitoring_port(command: Path, tmp_path: Path, oracle_program: Path) -> None:
    """`https://` works with the authority in the flags; only the real server has such a port yet."""
    certificates = Certificates(tmp_path)
    config = CONFIG + "\nhttps_port: -1\n" + certificates.block()
    with ServerProcess(oracle_program, config, monitor=False) as server:
        line = f"top https://{LOOPBACK}:{server.monitor_port} --json"
        told = json.loads(execute(command, f"{line} --tlsca {certificates.authority_file}", server).stdout)
        assert told["varz"]["connections"] == 0
        done = execute(command, line, server)
        assert (done.returncode, done.stdout) == (1, b"")
        assert "TLS: invalid peer certificate" in done.stderr.decode()


def test_a_server_that_goes_is_said(command: Path, stonechat_program: Path) -> None:
    """If the server ends, the last figures stay, with an error below; after its restart there are new figures."""
    with ServerProcess(stonechat_program, CONFIG) as server:
        line = f"top http://{LOOPBACK}:{server.monitor_port} --interval 100ms"
        with Screen(command, line, server) as screen:
            screen.wait_for("q quit")
            server.kill()
            screen.wait_for("cannot connect")
            screen.press("q")
            assert screen.code() == 0
