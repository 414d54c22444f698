"""Part `instructions`: the instructions per message, counted by valgrind's callgrind.

Counts do not depend on the load of the machine, so they show small differences that timings hide. The count of a run
without messages is subtracted. Instructions of the kernel are not counted.
"""

from __future__ import annotations

import collections
import re
import shutil
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from tests.support.process import LOOPBACK
from tests.support.waiting import wait_for

from .part import BUILD, BenchError, say, version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCENARIOS = {"1to1-16": (1, 16, 200_000), "fanout-8": (8, 128, 50_000)}
"""Number of subscribers, payload in bytes, number of published messages."""

_PATIENCE_S = 300.0
_TOP = 8


def measure(servers: Mapping[str, Path]) -> dict[str, Any]:
    """Counts the instructions per delivered message, with the most expensive functions, for each server."""
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind is not installed")
    BUILD.mkdir(parents=True, exist_ok=True)
    counted: dict[str, Any] = {"servers": {name: version(path) for name, path in servers.items()}, "scenarios": {}}
    for scenario, (receivers, size, messages) in _SCENARIOS.items():
        found: dict[str, Any] = {}
        for name, path in servers.items():
            out = BUILD / f"callgrind-{scenario}-{name}"
            idle = _count(path, receivers, size, 0, BUILD / f"callgrind-{scenario}-{name}-idle")
            busy = _count(path, receivers, size, messages, out)
            each = (busy - idle) / (messages * receivers)
            found[name] = {"per message": round(each, 1), "top": _top(out)}
            say(f"instructions: {scenario}, {name}: {each:.1f} a message delivered")
        counted["scenarios"][scenario] = found
    return counted


def _count(server: Path, receivers: int, size: int, messages: int, out: Path) -> int:
    """Returns the instructions of a server from its start to its end, with `messages` messages in between."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port: int = free.getsockname()[1]
    command = ["valgrind", "--quiet", "--tool=callgrind", "--fair-sched=try", f"--callgrind-out-file={out}"]
    process = subprocess.Popen(
        [*command, server, "-a", LOOPBACK, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port), "the server under valgrind", _PATIENCE_S)
        _pass(port, receivers, size, messages)
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(errors="replace"), re.MULTILINE)
    if found is None:
        raise BenchError(f"callgrind counted nothing: {out}")
    return int(found[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port)) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False


def _pass(port: int, receivers: int, size: int, messages: int) -> None:
    """Publishes `messages` messages and reads them at every subscriber."""
    subject, payload = b"bench.0", b"x" * size
    frame = len(b"MSG %b 1 %d\r\n%b\r\n" % (subject, size, payload))
    subscribers = [_connect(port, b"SUB %b 1\r\n" % subject) for _ in range(receivers)]
    readers = [threading.Thread(target=_read, args=(each, frame * messages)) for each in subscribers]
    for reader in readers:
        reader.start()
    publisher = _connect(port, b"")
    publisher.sendall(b"PUB %b %d\r\n%b\r\n" % (subject, size, payload) * messages)
    for reader in readers:
        reader.join()
    for connection in (*subscribers, publisher):
        connection.close()


def _connect(port: int, operations: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=_PATIENCE_S)
    connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n' + operations + b"PING\r\n")
    got = b""
    while not got.endswith(b"PONG\r\n"):
        got += connection.recv(1 << 16)
    return connection


def _read(connection: socket.socket, expected: int) -> None:
    while expected > 0:
        got = len(connection.recv(1 << 18))
        if got == 0:
            raise BenchError("the server closed a subscriber's connection")
        expected -= got


def _top(out: Path) -> list[str]:
    """Returns the functions with the most instructions, if the program has symbols."""
    told = subprocess.run(["callgrind_annotate", "--auto=no", out], capture_output=True, text=True, check=False).stdout
    lines = re.findall(r"^\s*[\d,]+ \(\s*([\d.]+)%\)\s+(\S.*)$", told, re.MULTILINE)
    # A function has a line for each source file that was inlined into it: add them up.
    shares: collections.Counter[str] = collections.Counter()
    for share, name in lines:
        if name != "PROGRAM TOTALS":
            shares[_short(name)] += round(float(share) * 100)
    if not any("stonechat" in name for name in shares):
        return []
    return [f"{share / 100:4.1f} % {name}" for name, share in shares.most_common(_TOP)]


def _short(name: str) -> str:
    """Returns the name of a function without file, object and hash."""
    return re.sub(r"::h[0-9a-f]{16}$", "", re.sub(r" \[[^]]*\]$", "", name).partition(":")[2])
