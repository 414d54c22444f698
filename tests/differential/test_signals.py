"""Signals: stop, reopening of the log, reload and lame duck mode, compared with the real server."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.process import LOOPBACK, ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from . import normalise
from .servers import Programs, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def connected(server: ServerProcess, **options: object) -> Wire:
    """Returns a connection that accepts later INFO messages, after its first PONG and the INFO that follows it."""
    wire = Wire(server.port)
    fields = {"verbose": False, "pedantic": False, "protocol": 1, "headers": True, **options}
    wire.send(b"CONNECT " + json.dumps(fields).encode() + b"\r\nPING\r\n")
    wire.expect(b"PONG")
    wire.expect(b"INFO")
    return wire


def plain(frames: list[bytes]) -> list[bytes]:
    """Returns frames without harmless differences, and without the PINGs of the server's timer."""
    return [normalise.info(frame) for frame in frames if frame != b"PING\r\n"]


def on_both(programs: Programs, config: str, scene: Callable[[ServerProcess], object]) -> None:
    """Plays a scene on both servers and compares the results."""
    with running(programs, config) as two:
        expected, got = (scene(server) for server in two)
    assert got == expected


# -- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end(programs: Programs, number: signal.Signals) -> None:
    """Both signals end the server with code 0; clients see a closed connection and no more."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire:
            server.signal(number)
            code = server.wait()
            trapped = re.sub(r".*\[INF\] ", "", server.wait_for_log("Trapped"))
            return code, plain(wire.read_to_end()), trapped, sorted(p.name for p in server.directory.glob("*.ports"))

    on_both(programs, "", scene)


def test_files_of_a_server(programs: Programs, tmp_path: Path) -> None:
    """The pid file and the ports file have the same form; the ports file is removed when the server ends."""
    contents = []
    for index, program in enumerate(programs):
        pid_file = tmp_path / f"{index}.pid"
        with ServerProcess(program, args=["-P", str(pid_file)]) as server:
            wait_for(pid_file.exists, "the pid file")
            assert pid_file.read_text() == str(server.pid)
            (ports_file,) = server.directory.glob("*.ports")
            assert ports_file.name == f"{program.name}_{server.pid}.ports"
            ports = json.loads(ports_file.read_text())
            assert ports["nats"] == [server.url]
            contents.append((sorted(ports), pid_file.stat().st_mode & 0o777))
            server.stop()
            assert not ports_file.exists()
    assert contents[1] == contents[0]


def test_the_log_is_opened_again(programs: Programs, tmp_path: Path) -> None:
    """After SIGUSR1 the server writes to a new file at the path of the moved one."""
    for index, program in enumerate(programs):
        file, moved = tmp_path / f"{index}.log", tmp_path / f"{index}.old"
        with ServerProcess(program, args=["-l", str(file)]) as server:
            wait_for(partial(_contains, file, "Server is ready"), "the log")
            file.rename(moved)
            server.signal(signal.SIGUSR1)
            wait_for(partial(_contains, file, "File log re-open"), "the new log")
            server.stop()
        assert "Server Exiting.." in file.read_text()
        assert "Server Exiting.." not in moved.read_text()


def _contains(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()


def test_reopening_without_a_file(programs: Programs) -> None:
    """SIGUSR1 has no effect without a log file."""

    def scene(server: ServerProcess) -> object:
        server.signal(signal.SIGUSR1)
        line = server.wait_for_log("re-open")
        with connected(server) as wire:
            return line.partition("[INF]")[2], plain(wire.sync())

    on_both(programs, "", scene)


# -- reload -----------------------------------------------------------------------------------------


def test_reload_of_max_payload(programs: Programs) -> None:
    """A new limit applies to old connections, which get no INFO about it, and to new ones, which do."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire, Wire(server.port) as old:
            old.send_line('CONNECT {"verbose":false}')
            old.sync()
            server.reload("max_payload: 100")
            told = plain(wire.sync()), plain(old.sync())
            wire.send(b"PUB foo 101\r\n")
            old.send(b"PUB foo 101\r\n")
            refused = plain(wire.read_to_end()), plain(old.read_to_end())
            with Wire(server.port) as new:
                return told, refused, plain([new.expect(b"INFO")])

    on_both(programs, "", scene)


ANN_AND_BOB = "authorization { users = [ {user: ann, password: a}, {user: bob, password: b} ] }"


def test_reload_that_removes_a_user(programs: Programs) -> None:
    """Connections of a removed user are closed, the others stay."""

    def scene(server: ServerProcess) -> object:
        with (
            connected(server, user="ann", **{"pass": "a"}) as ann,
            connected(server, user="bob", **{"pass": "b"}) as bob,
        ):
            server.reload("authorization { users = [ {user: ann, password: a} ] }")
            return plain(bob.read_to_end()), plain(ann.sync())

    on_both(programs, ANN_AND_BOB, scene)


def test_reload_that_changes_a_password(programs: Programs) -> None:
    """Connections with the old password are closed, and can only log in again with the new one."""

    def scene(server: ServerProcess) -> object:
        with connected(server, user="bob", **{"pass": "b"}) as bob:
            server.reload(ANN_AND_BOB.replace("password: b", "password: new"))
            gone = plain(bob.read_to_end())
        with Wire(server.port) as wire:
            wire.send_line('CONNECT {"verbose":false,"user":"bob","pass":"b"}')
            refused = plain(wire.read_to_end())
        with connected(server, user="bob", **{"pass": "new"}) as bob:
            return gone, refused, plain(bob.sync())

    on_both(programs, ANN_AND_BOB, scene)


def test_reload_that_changes_permissions(programs: Programs) -> None:
    """Subscriptions that are no longer allowed are removed, each with an error; the others stay."""
    config = """authorization { users = [
        {user: ann, password: a, permissions: {publish: ">", subscribe: %s}}, {user: bob, password: b} ] }"""

    def scene(server: ServerProcess) -> object:
        with (
            connected(server, user="ann", **{"pass": "a"}) as ann,
            connected(server, user="bob", **{"pass": "b"}) as bob,
        ):
            ann.send(b"SUB foo 1\r\nSUB bar 2\r\nSUB foo workers 3\r\n")
            before = plain(ann.sync())
            server.reload(config % '"bar"')
            bob.send(b"PUB foo 1\r\n1\r\nPUB bar 1\r\n2\r\n")
            bob.sync()
            return before, sorted(plain(ann.sync()))

    on_both(programs, config % '">"', scene)


def test_reload_that_asks_for_a_token(programs: Programs) -> None:
    """Connections without the token are closed; INFO says that a login is required."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire:
            server.reload("authorization { token: s3cret }")
            gone = plain(wire.read_to_end())
        with Wire(server.port) as wire:
            return gone, plain([wire.expect(b"INFO")])

    on_both(programs, "", scene)


def test_reload_of_max_connections(programs: Programs) -> None:
    """Connections beyond the new limit are closed."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as one, connected(server) as two, connected(server) as three:
            server.reload("max_connections: 2")
            wait_for(lambda: server.get_json("/varz")["connections"] == 2, "two connections")
            return sorted(plain(_to_pong_or_end(wire)) for wire in (one, two, three))

    on_both(programs, "", scene)


def _to_pong_or_end(wire: Wire) -> list[bytes]:
    wire.send(b"PING\r\n")
    return wire.read_until(lambda frame: frame == b"PONG\r\n")


def test_reload_of_log_options(programs: Programs) -> None:
    """Traces can be enabled by a reload."""
    with running(programs) as two:
        for server in two:
            with connected(server) as wire:
                server.reload("debug: true\ntrace: true")
                wire.send_line("SUB after.reload 1")
                wire.sync()
            server.wait_for_log("<<- [SUB after.reload 1]")
            assert "Reloaded: trace = true" in server.log()
            assert "Reloaded: debug = true" in server.log()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("server_name: other", "config reload not supported for ServerName"),
        ("max_pending: 5MB", "config reload not supported for MaxPending"),
        ("nonsense: 1", 'unknown field "nonsense"'),
        ("authorization {", "Parse error on line"),
    ],
)
def test_reload_that_is_refused(programs: Programs, config: str, complaint: str) -> None:
    """An invalid file changes nothing, and the server continues."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire:
            server.write_config(config)
            server.signal(signal.SIGHUP)
            line = server.wait_for_log("Failed to reload server configuration")
            assert complaint in line
            wire.send(b"SUB foo 1\r\nPUB foo 2\r\nhi\r\n")
            return plain(wire.sync())

    on_both(programs, "", scene)


def test_reload_without_a_file(programs: Programs) -> None:
    """Without a configuration file, a reload is refused with an error in the log."""
    for program in programs:
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        process = subprocess.Popen([program, "-a", LOOPBACK, "-p", str(port)], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "Server is ready" in line:
                    process.send_signal(signal.SIGHUP)
                if "Failed to reload" in line:
                    break
            assert line.endswith(
                "Failed to reload server configuration: "
                "can only reload config when a file is provided using -c or --config\n"
            )
        finally:
            process.terminate()
            process.communicate()


def test_flags_stay_after_a_reload(programs: Programs) -> None:
    """Values of flags stay in effect if the file has others."""
    with running(programs, args=["-D", "--auth", "from_flag"]) as two:
        for server in two:
            server.reload("max_payload: 1000\ndebug: false\nauthorization { token: from_file }")
            with connected(server, auth_token="from_flag"), Wire(server.port) as other:
                server.wait_for_log("Client connection created")
                other.send_line('CONNECT {"auth_token":"from_file"}')
                assert other.read_to_end()[-1] == b"-ERR 'Authorization Violation'\r\n"
            assert server.get_json("/varz")["max_payload"] == 1000


# -- lame duck mode -----------------------------------------------------------------------------------

SHORT = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "200ms"'


def test_lame_duck_announces_itself(programs: Programs) -> None:
    """Clients get INFO with ldm, new ones are refused, then all are closed and the server ends."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire, Wire(server.port) as old:
            old.send_line('CONNECT {"verbose":false}')
            old.sync()
            server.signal(signal.SIGUSR2)
            announced = plain([wire.expect(b"INFO")])
            with pytest.raises(ConnectionRefusedError):
                Wire(server.port)
            return announced, plain(wire.read_to_end()), plain(old.read_to_end()), server.wait()

    on_both(programs, SHORT, scene)


def test_lame_duck_without_clients_ends_at_once(programs: Programs) -> None:
    """Without clients, the server ends without waiting for the lame duck duration."""

    def scene(server: ServerProcess) -> object:
        server.signal(signal.SIGUSR2)
        return server.wait()

    on_both(programs, 'lame_duck_duration: "60s"\nlame_duck_grace_period: "50s"', scene)


def test_lame_duck_still_delivers(programs: Programs) -> None:
    """Until it is closed, a client is served as before, also after SIGTERM."""

    def scene(server: ServerProcess) -> object:
        with connected(server) as wire:
            server.signal(signal.SIGUSR2)
            wire.expect(b"INFO")
            server.signal(signal.SIGTERM)
            server.wait_for_log('Trapped "terminated"')
            wire.send(b"SUB foo 1\r\nPUB foo 2\r\nhi\r\n")
            served = plain(wire.sync())
        server.kill()
        return served

    on_both(programs, 'lame_duck_duration: "60s"\nlame_duck_grace_period: "50s"', scene)


# -- signals by command -------------------------------------------------------------------------------


@pytest.mark.parametrize("by_file", [False, True], ids=["pid", "pid file"])
def test_signal_command(programs: Programs, tmp_path: Path, by_file: bool) -> None:
    """`--signal WORD=PID` sends the signal and ends with code 0."""
    for index, program in enumerate(programs):
        pid_file = tmp_path / f"{index}.pid"
        with ServerProcess(program, args=["-P", str(pid_file)]) as server:
            target = str(pid_file) if by_file else str(server.pid)
            for word, trapped in [("reopen", "user defined signal 1"), ("reload", "hangup"), ("term", "terminated")]:
                done = subprocess.run([program, "--signal", f"{word}={target}"], capture_output=True, check=False)
                assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
                server.wait_for_log(f'Trapped "{trapped}" signal')
            assert server.wait() == 0
