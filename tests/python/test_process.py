"""Forks, interpreter exit, and leaks of a process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from stonechat import Server, WrongProcessError
from tests.python.raw_client import RawClient

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system has no /proc")


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked child and returns the child's exit code, which is 1 after an exception."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child ends here, whatever happens
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_not_use_the_server() -> None:
    def child() -> None:
        for use in (
            lambda: server.url,
            lambda: server.ready,
            lambda: server.logs,
            server.start,
            server.stop,
            server.restart,
            server.reload,
            server.lame_duck,
            server.stats,
            server.wait,
        ):
            with pytest.raises(WrongProcessError, match=str(parent)):
                use()
        assert repr(server) == "<stonechat.Server of another process>"

    parent = os.getpid()
    with Server() as server:
        assert in_child(child) == 0
        with RawClient(server.url):
            pass


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_drop_the_server() -> None:
    servers = [Server().start()]
    url = servers[0].url

    def child() -> None:
        servers.clear()
        gc.collect()

    assert in_child(child) == 0
    with RawClient(url):
        pass
    servers[0].stop()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_leave_the_with_statement() -> None:
    with Server() as server:

        def child() -> None:
            server.__exit__(None, None, None)

        assert in_child(child) == 0
        assert server.ready


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_may_have_servers_of_its_own() -> None:
    def child() -> None:
        with Server() as own, RawClient(own.url) as client:
            client.subscribe("a")
            client.publish("a", "child")
            assert client.message() == ("a", "child")
        assert threading.active_count() == 2  # this one and that of the logs

    with Server():
        assert in_child(child) == 0


@needs_fork
def test_a_forked_child_may_end_like_any_program() -> None:
    code = """
import os, stonechat
server = stonechat.Server().start()
child = os.fork()
if child == 0:
    raise SystemExit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert server.ready
print("parent goes on")
"""
    result = run(code)
    assert (result.returncode, result.stdout) == (0, "parent goes on\n"), result.stderr


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "os._exit(0)",
        "del server",
        "keep = [server]; keep.append(keep)",
        "sys.modules['kept'] = server",
    ],
)
def test_the_interpreter_ends_well_with_servers_running(end: str) -> None:
    code = f"import os, sys, stonechat\nserver = stonechat.Server(debug=True, trace=True).start()\n{end}"
    result = run(code)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_interpreter_ends_well_in_the_middle_of_traffic() -> None:
    code = """
import logging, socket, threading, stonechat
logging.basicConfig(filename="/dev/null", level=1)
server = stonechat.Server(trace=True).start()
def flood():
    link = socket.create_connection((server.host, server.port))
    link.sendall(b"CONNECT {}\\r\\n")
    try:
        while True:
            link.sendall(b"PUB a 1\\r\\nx\\r\\n" * 100)
    except OSError:
        pass
for _ in range(3):
    threading.Thread(target=flood, daemon=True).start()
while server.stats().in_msgs < 1000:
    pass
"""
    result = run(code)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_exception_ends_the_program_as_always() -> None:
    result = run("import stonechat\nserver = stonechat.Server().start()\nraise SystemExit(3)")
    assert (result.returncode, result.stderr) == (3, "")


def test_the_last_lines_of_running_servers_are_logged_at_exit() -> None:
    code = """
import logging, stonechat
logging.basicConfig(level=logging.INFO, format="%(message)s")
server = stonechat.Server().start()
"""
    result = run(code)
    assert result.returncode == 0
    assert "Server is ready" in result.stderr
    assert "Initiating Shutdown..." in result.stderr


def test_an_unclosed_server_is_a_resource_warning() -> None:
    result = run("import stonechat\nserver = stonechat.Server().start()\ndel server", "-X", "dev")
    assert "ResourceWarning: unclosed server <stonechat.Server nats://127.0.0.1:" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_server_leaves_the_signals_of_the_program_alone() -> None:
    code = """
import os, signal, stonechat
before = {number: signal.getsignal(number) for number in signal.valid_signals()}
def caught():
    if not os.path.exists("/proc/self/status"):
        return 0
    # The C library catches 32 and 33 for its own purposes once there are threads.
    return int(open("/proc/self/status").read().split("SigCgt:")[1].split()[0], 16) & (1 << 31) - 1
mask = caught()
with stonechat.Server():
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    assert caught() == mask, (caught(), mask)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True: pass
    except KeyboardInterrupt:
        print("interrupted")
"""
    result = run(code)
    assert (result.returncode, result.stdout) == (0, "interrupted\n"), result.stderr


class Footprint:
    """Numbers of threads and file descriptors of this process at one moment."""

    def __init__(self) -> None:
        self.threads = len(list(Path("/proc/self/task").iterdir()))
        self.descriptors = len(list(Path("/proc/self/fd").iterdir()))

    def __repr__(self) -> str:
        return f"{self.threads} threads, {self.descriptors} descriptors"

    def is_reached_again(self) -> bool:
        """Waits until the numbers are no higher than these. A joined thread may stay in /proc for a short time."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            now = Footprint()
            if now.threads <= self.threads and now.descriptors <= self.descriptors:
                return True
        return False


@needs_proc
def test_starting_and_stopping_leaks_no_threads_and_no_descriptors() -> None:
    server = Server(monitor_port=0)

    def cycle() -> None:
        with server, RawClient(server.url) as client:
            client.publish("a", "x")
            client.ping()

    cycle()
    before = Footprint()
    for _ in range(200):
        cycle()
    assert before.is_reached_again(), (before, Footprint())


@needs_proc
def test_starting_and_stopping_leaks_no_memory() -> None:
    # Runs in its own process, because memory that the allocator keeps from other tests would distort the measurement.
    code = """
import stonechat
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def cycles(count):
    for _ in range(count):
        with stonechat.Server():
            pass
cycles(100)
before = resident()
cycles(200)
print((resident() - before) // 200)
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    # A leak of one server per cycle would exceed this by far, with its tables alone.
    assert int(result.stdout) < 10_000


@needs_proc
def test_a_failed_start_leaks_nothing() -> None:
    with Server() as taken:
        server = Server(port=taken.port, monitor_port=0)
        for attempt in range(21):
            with pytest.raises(OSError, match="in use"):
                server.start()
            if attempt == 0:
                before = Footprint()
        assert before.is_reached_again(), (before, Footprint())
