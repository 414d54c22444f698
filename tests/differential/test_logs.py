"""The log: the lines that programs parse, and the trace of a conversation, compared with the real server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Wire

from .servers import Programs, Two, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
trace: true
debug: true
authorization {
  users = [ {user: ann, password: s3cret}, {user: bob, password: b, permissions: {publish: "a", subscribe: "a"}} ]
}
"""

CONVERSATIONS: dict[str, list[bytes]] = {
    "everything": [
        (
            b'CONNECT {"verbose":true,"user":"ann","pass":"s3cret","name":"n","lang":"py","version":"1.0",'
            b'"headers":true,"protocol":1,"no_responders":true}\r\n'
        ),
        b"SUB foo workers 1\r\nUNSUB 1 5\r\nPONG\r\n",
        b"PUB foo reply 5\r\nhello\r\nHPUB foo 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        b"SUB a..b 4\r\nSUB foo _sys_ 5\r\nPUB _GR_.a 0\r\n\r\n",
    ],
    "lower case and blanks": [
        b'connect {"verbose":false,"user":"ann","pass":"s3cret"}\r\n',
        b"sub  foo\t1\r\npub foo   2\r\nhi\r\nunsub 1\r\nping\r\n",
    ],
    "a name only": [b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","name":"only"}\r\n', b"SUB foo 1\r\n"],
    "a language only": [b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","lang":"py"}\r\n', b"SUB foo 1\r\n"],
    "a version only": [b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","version":"2"}\r\n', b"SUB foo 1\r\n"],
    "quotes in a name": [
        b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","name":"a\\"b"}\r\n',
        b"SUB foo 1\r\n",
    ],
    "violations": [
        b'CONNECT {"verbose":false,"user":"bob","pass":"b"}\r\n',
        b"PUB b 0\r\n\r\nSUB b 1\r\nSUB b group 2\r\nSUB a 3\r\n",
    ],
    "binary payload": [
        b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\n',
        b'PUB foo 8\r\n\x00\xff"\\\t\r\n\x7f\r\n',
    ],
}

LAST_WORDS: dict[str, bytes] = {
    "a wrong password": b'CONNECT {"user":"ann","pass":"wrong"}\r\n',
    "no user": b"CONNECT {}\r\n",
    "a payload too large": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\nPUB a 99999999\r\n',
    "a bad protocol version": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","protocol":7}\r\n',
    "no headers": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret","no_responders":true}\r\n',
    "an operation before CONNECT": b"PING\r\n",
    "a control line too long": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\nSUB '
    + b"x" * 5000
    + b"\r\n",
    "an unknown operation": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\nFOO\r\n',
    "bad arguments": b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\nPUB a b c d\r\n',
}

_DETAILS = [
    (re.compile(r"^(\[\d+\] )?\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} "), ""),
    (re.compile(r"127\.0\.0\.1:\d+ - cid:\d+"), "CLIENT"),
    # The details that our parser and nats-server's parser add to these errors differ.
    (re.compile(r"(Client parser ERROR|maximum control line exceeded)[^']*?[,:-] .*"), r"\1"),
    (re.compile(r"(processPub Parse Error|processing arguments failed): .*"), "bad arguments"),
]


@pytest.fixture(scope="module")
def servers(programs: Programs) -> Iterator[Two]:
    """Both servers with traces on."""
    with running(programs, CONFIG) as two:
        yield two


def client_lines(server: ServerProcess, opened: int, *levels: str) -> list[str]:
    """Waits until `opened` + 1 clients are closed; returns the lines of the last one without pids, times, addresses."""
    server.wait_for_log_count("Client connection closed", opened + 1)
    log = server.log().split("Client connection created")[-1]
    found = []
    for line in log.splitlines()[1:]:
        if " - cid:" in line and any(level in line for level in levels) and "DELSUB" not in line:
            for pattern, replacement in _DETAILS:
                line = pattern.sub(replacement, line)
            found.append(line)
        if "Client connection closed" in line:  # what is said after it may not be there yet
            break
    return found


def closed_so_far(server: ServerProcess) -> int:
    """Returns the number of closed connections in the log."""
    return server.log().count("Client connection closed")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_traces(servers: Two, name: str) -> None:
    """The lines of a conversation's trace are the same."""
    traces = []
    for server in servers:
        before = closed_so_far(server)
        with Wire(server.port) as wire:
            for segment in CONVERSATIONS[name]:
                wire.send(segment)
                wire.sync()
        traces.append(client_lines(server, before, "[TRC]"))
    expected, got = traces
    assert any("<<- [CONNECT" in line or "<<- [connect" in line for line in expected)
    assert got == expected


def test_ends_of_subscriptions(programs: Programs) -> None:
    """The trace shows each end of a subscription: by UNSUB, after its last message, with its connection."""
    ended = []
    with running(programs, "trace: true") as two:
        for server in two:
            with Wire(server.port) as wire:
                wire.send_line('CONNECT {"verbose":false}')
                wire.send(b"SUB a 1\r\nUNSUB 1\r\nSUB b 2\r\nUNSUB 2 1\r\nPUB b 0\r\n\r\nSUB c 3\r\nSUB d 4\r\n")
                wire.sync()
            server.wait_for_log_count("DELSUB", 4)
            lines = server.log().splitlines()
            ended.append([line.partition("<-> ")[2] for line in lines if "DELSUB" in line])
    expected, got = ended
    assert got[:2] == expected[:2]
    assert sorted(got) == sorted(expected)


@pytest.mark.parametrize("name", LAST_WORDS)
def test_errors_and_reasons(servers: Two, name: str) -> None:
    """An error is logged with the same text, and the closed connection with the same reason."""
    logs = []
    for server in servers:
        before = closed_so_far(server)
        with Wire(server.port) as wire:
            wire.send(LAST_WORDS[name])
            wire.read_to_end()
            logs.append(client_lines(server, before, "[ERR]", "[DBG]", "->>"))
    expected, got = logs
    assert any("Client connection closed: " in line for line in expected)
    assert got == expected


def test_a_client_that_leaves(servers: Two) -> None:
    """A client that disconnects is logged as `Client Closed`."""
    logs = []
    for server in servers:
        before = closed_so_far(server)
        with Wire(server.port) as wire:
            wire.send_line('CONNECT {"verbose":false,"user":"ann","pass":"s3cret","name":"leaver"}')
            wire.sync()
        logs.append(client_lines(server, before, "[DBG]"))
    expected, got = logs
    assert expected == ['[DBG] CLIENT - "leaver" - "$G/user:ann" - Client connection closed: Client Closed']
    assert got == expected


def test_secrets_are_not_logged(servers: Two) -> None:
    """Credentials do not appear in the log."""
    fields = '"pass":"pw-1","auth_token":"token-2","sig":"sig-3","nkey":"nkey-4","proxy_sig":"psig-5","password":"pw-6"'
    logs = []
    for server in servers:
        before = closed_so_far(server)
        with Wire(server.port) as wire:
            wire.send_line('CONNECT {"user":"ann",' + fields + "}")
            wire.read_to_end()
            logs.append(client_lines(server, before, "[TRC]"))
        for secret in ("pw-1", "token-2", "sig-3", "psig-5"):
            assert secret not in server.log()
    assert logs[1] == logs[0]


def test_start_and_end(programs: Programs) -> None:
    """The lines of a server's start and end, in order."""
    looked_for = [
        r"\[INF\] Starting nats-server$",
        r"\[INF\]   Version:  2\.15\.\d+$",
        r"\[INF\]   Git:      \[.*\]$",
        r"\[INF\]   Name:     parrot$",
        r"\[INF\]   ID:       N[A-Z2-7]{55}$",
        r"\[INF\] Using configuration file: .*server\.conf \(sha256:[0-9a-f]{64}\)$",
        r"\[INF\] Starting http monitor on 127\.0\.0\.1:\d+$",
        r"\[INF\] Listening for client connections on 127\.0\.0\.1:\d+$",
        r"\[INF\] Server is ready$",
        r'\[INF\] Trapped "terminated" signal$',
        r"\[INF\] Initiating Shutdown\.\.\.$",
        r"\[INF\] Server Exiting\.\.$",
    ]
    with running(programs, "server_name: parrot") as two:
        for server in two:
            assert server.stop() == 0
            lines = iter(server.log().splitlines())
            for pattern in looked_for:
                line = next((line for line in lines if re.search(pattern, line)), None)
                assert line is not None, f"{server.program.name} logs no {pattern!r} in its place\n{server.log()}"
                assert re.match(rf"\[{server.pid}\] \d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{{6}} \[INF\] ", line)


@pytest.mark.parametrize(
    ("args", "pattern"),
    [
        (["-T=false"], r"\[\d+\] \[INF\] Server is ready"),
        (["--logtime=false"], r"\[\d+\] \[INF\] Server is ready"),
        (["--logtime_utc"], r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[INF\] Server is ready"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_time_stamps(programs: Programs, args: list[str], pattern: str) -> None:
    """Time stamps can be left out."""
    with running(programs, args=args) as two:
        for server in two:
            assert re.fullmatch(pattern, server.wait_for_log("Server is ready"))


@pytest.mark.parametrize("flags", [["-DV"], ["-D", "-V"], ["--debug", "--trace"], ["-DVV"]], ids=" ".join)
def test_flags_for_debug_and_trace(programs: Programs, flags: list[str]) -> None:
    """-D logs connections, -V their operations."""
    with running(programs, args=flags) as two:
        for server in two:
            with Wire(server.port) as wire:
                wire.send_line("SUB foo 1")
                wire.sync()
                server.wait_for_log("[DBG] ")
                server.wait_for_log("<<- [SUB foo 1]")


def test_a_log_file(programs: Programs, tmp_path: Path) -> None:
    """-l sends the log to a file, which only the owner can write."""
    for index, program in enumerate(programs):
        file = tmp_path / f"{index}.log"
        with ServerProcess(program, args=["-l", str(file)]) as server:
            server.stop()
            assert server.log() == ""
        text = file.read_text()
        assert "Server is ready" in text
        assert "Server Exiting.." in text
        assert file.stat().st_mode & 0o777 == 0o640


def test_a_long_payload_is_cut(programs: Programs) -> None:
    """max_traced_msg_len limits the length of payloads in a trace."""
    with running(programs, "trace: true\nmax_traced_msg_len: 5") as two:
        lines = []
        for server in two:
            with Wire(server.port) as wire:
                wire.send(b"PUB foo 10\r\n0123456789\r\nPUB foo 3\r\nabc\r\n")
                wire.sync()
            server.wait_for_log("[PING]")
            lines.append(
                [line.partition("MSG_PAYLOAD: ")[2] for line in server.log().splitlines() if "MSG_PAY" in line]
            )
    assert lines[0] == ['["01234..."]', '["abc"]']
    assert lines[1] == lines[0]
