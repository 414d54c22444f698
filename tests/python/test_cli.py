"""The commands `stonechat` and `stonechat-server`, as installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import stonechat
from stonechat import Server
from tests.python.raw_client import RawClient

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
INTERRUPTED = 130


def command(name: str) -> str:
    """Returns the path of the command that is installed beside this interpreter."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    assert path is not None, f"{name} is not installed beside {sys.executable}"
    return path


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NATS_")}
    return kept if url is None else {**kept, "NATS_URL": url}


def run(
    *args: str, url: str | None = None, stdin: bytes = b"", name: str = "stonechat"
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [command(name), *args], input=stdin, capture_output=True, timeout=60, check=False, env=environment(url)
    )


class Process(subprocess.Popen[bytes]):
    """A command in the background."""

    said = ""
    """Standard error up to the point at which the command was ready."""


@contextmanager
def running(*args: str, url: str | None = None, until: str, name: str = "stonechat") -> Iterator[Process]:
    """Runs a command in the background, and waits until it has written `until` to standard error."""
    process = Process([command(name), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(url))
    try:
        assert process.stderr is not None
        while until not in process.said:
            line = process.stderr.readline().decode()
            assert line, process.said
            process.said += line
        yield process
    finally:
        process.kill()
        process.communicate()


def output(process: Process) -> tuple[int, str]:
    """Waits for the end of the command; returns its exit code and standard output."""
    text, _ = process.communicate(timeout=60)
    return process.returncode, text.decode()


# pub and sub


def test_pub_and_sub() -> None:
    with Server() as server, running("sub", "a.*", "b", "--count", "3", url=server.url, until="subscribed") as sub:
        assert run("pub", "a.x", "hello", "-H", "Zoo:1", "-H", "Ant: 2", url=server.url).returncode == 0
        assert run("pub", "b", "-", url=server.url, stdin=b"\xff\x00").returncode == 0
        assert run("pub", "b", "--reply", "inbox", url=server.url).returncode == 0
        assert output(sub) == (
            0,
            "[1] a.x: hello\n    Ant: 2\n    Zoo: 1\n[2] b: (2 bytes) ff 00\n[3] b (reply to inbox): (empty)\n",
        )


def test_pub_many_and_sub_raw() -> None:
    with Server() as server, running("sub", "n", "--raw", "--count", "500", url=server.url, until="subscribed") as sub:
        published = run("pub", "n", "x", "--count", "500", url=server.url)
        assert (published.returncode, published.stderr) == (0, b"published 500 messages to n\n")
        assert output(sub) == (0, "x\n" * 500)


def test_sub_in_a_queue_group() -> None:
    with (
        Server() as server,
        running("sub", "q", "--queue", "g", "--raw", url=server.url, until="subscribed") as one,
        running("sub", "q", "--queue", "g", "--raw", url=server.url, until="subscribed") as two,
    ):
        assert run("pub", "q", "x", "--count", "100", url=server.url).returncode == 0
        lines = []
        for member in (one, two):
            member.send_signal(signal.SIGINT)
            lines.append(output(member)[1].count("x"))
        assert sum(lines) == 100
        assert min(lines) > 0


def test_nobody_else_sees_what_the_commands_do_to_be_sure() -> None:
    with Server() as server, RawClient(server.url) as client:
        client.subscribe(">")
        assert run("pub", "a", "1", url=server.url).returncode == 0
        with running("sub", "b", url=server.url, until="subscribed"):
            client.publish("end", "")
            assert client.message() == ("a", "1")
            assert client.message() == ("end", "")


def test_sub_without_enough_messages_fails_in_time() -> None:
    with Server() as server:
        result = run("sub", "a", "--count", "1", "--timeout", "50ms", url=server.url)
        assert (result.returncode, result.stderr.splitlines()[-1]) == (1, b"stonechat: 0 of 1 messages came in time")
        assert run("sub", "a", "--timeout", "50ms", url=server.url).returncode == 0


@posix
def test_sub_ends_well_when_its_reader_goes_away() -> None:
    with Server() as server, running("sub", ">", "--raw", url=server.url, until="subscribed") as sub:
        assert sub.stdout is not None
        sub.stdout.close()
        sub.stdout = None
        run("pub", "a", "x", url=server.url)
        assert sub.wait(timeout=60) == 0
        assert sub.stderr is not None
        assert sub.stderr.read() == b""


# req and reply


def test_req_and_reply() -> None:
    with Server() as server:
        args = ("reply", "time", "teatime", "--count", "2", "-H", "Kind:tea")
        with running(*args, url=server.url, until="answering") as reply:
            raw = run("req", "time", "what", "--raw", url=server.url)
            assert (raw.returncode, raw.stdout) == (0, b"teatime\n")
            full = run("req", "time", url=server.url)
            assert re.fullmatch(r"\[1\] _INBOX\.\w+: teatime\n    Kind: tea\n", full.stdout.decode())
            code, text = output(reply)
        assert code == 0
        assert re.fullmatch(
            r"\[1\] time \(reply to _INBOX\.\w+\): what\n\[2\] time \(reply to _INBOX\.\w+\): \(empty\)\n", text
        )


def test_reply_echo() -> None:
    with Server() as server, running("reply", "echo", "--echo", url=server.url, until="answering"):
        assert run("req", "echo", "-", "--raw", url=server.url, stdin=b"\x00\xff").stdout == b"\x00\xff\n"
        many = run("req", "echo", "x", "--raw", "--count", "3", url=server.url)
        assert many.stdout == b"x\nx\nx\n"


def test_req_gathers_from_several_responders() -> None:
    with (
        Server() as server,
        running("reply", "all", "one", url=server.url, until="answering"),
        running("reply", "all", "two", url=server.url, until="answering"),
    ):
        both = run("req", "all", "--raw", "--replies", "2", url=server.url)
        assert (both.returncode, sorted(both.stdout.split())) == (0, [b"one", b"two"])
        # Both commands wait for their whole timeout, which is long enough for the replies on a busy machine.
        with ThreadPoolExecutor(2) as pool:
            all_in_time, too_many = pool.map(
                lambda count: run("req", "all", "--raw", "--replies", count, "--timeout", "5s", url=server.url), "03"
            )
        assert (all_in_time.returncode, sorted(all_in_time.stdout.split())) == (0, [b"one", b"two"])
        assert (too_many.returncode, too_many.stderr) == (1, b"stonechat: 2 of 3 messages came in time\n")


def test_req_without_responders() -> None:
    with Server() as server:
        result = run("req", "nobody", url=server.url)
        assert (result.returncode, result.stderr) == (1, b'stonechat: no responders for "nobody"\n')


def test_req_without_an_answer() -> None:
    with Server() as server, running("sub", "deaf", url=server.url, until="subscribed"):
        result = run("req", "deaf", "--timeout", "100ms", url=server.url)
        assert (result.returncode, result.stderr) == (1, b'stonechat: no reply from "deaf" within 0.1 s\n')


# Connections


@pytest.mark.parametrize(
    ("options", "args"),
    [
        ({"user": "joe", "password": "pw"}, ["--user", "joe", "--password", "pw"]),
        ({"token": "t0ken"}, ["--token", "t0ken"]),
    ],
)
def test_credentials(options: dict[str, str], args: list[str]) -> None:
    with Server(**options) as server:  # type: ignore[arg-type]
        assert run("pub", "a", *args, url=server.url).returncode == 0
        assert run("pub", "a", *args, "-s", f"127.0.0.1:{server.port}").returncode == 0
        denied = run("pub", "a", url=server.url)
        assert (denied.returncode, b"authorization violation" in denied.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "credentials"), [({"user": "joe", "password": "pw"}, "joe:pw"), ({"token": "t0ken"}, "t0ken")]
)
def test_credentials_in_the_address(options: dict[str, str], credentials: str) -> None:
    with Server(**options) as server:  # type: ignore[arg-type]
        url = f"nats://{credentials}@127.0.0.1:{server.port}"
        assert run("pub", "a", "-s", url).returncode == 0


def test_a_password_is_not_shown_when_there_is_no_server() -> None:
    with Server() as server:
        port = server.port
    result = run("pub", "a", "-s", f"nats://joe:s3cret@127.0.0.1:{port}")
    assert result.returncode == 1
    assert result.stderr.startswith(b"stonechat: cannot connect to nats://127.0.0.1:")
    assert b"s3cret" not in result.stderr


def test_what_the_server_refuses_is_an_error() -> None:
    config = 'authorization { users: [{user: joe, password: pw, permissions: {publish: "ok", subscribe: "ok"}}] }'
    with Server(config) as server:
        login = ("--user", "joe", "--password", "pw")
        assert run("pub", "ok", *login, url=server.url).returncode == 0
        for kind in ("pub", "sub"):
            result = run(kind, "no", *login, url=server.url)
            assert (result.returncode, b"Permissions Violation for" in result.stderr) == (1, True)


# Usage


@pytest.mark.parametrize("args", [["--help"], ["pub", "--help"], ["sub", "-h"], ["req", "--help"], ["reply", "--help"]])
def test_help_has_examples(args: list[str]) -> None:
    result = run(*args)
    assert result.returncode == 0
    assert b"Examples:\n  " in result.stdout


def test_version() -> None:
    assert run("--version").stdout.decode() == f"stonechat {stonechat.__version__}\n"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nonsense"],
        ["pub"],
        ["pub", "a", "--count", "x"],
        ["pub", "a..b"],
        ["pub", "a b"],
        ["sub", "a", "--timeout", "soon"],
        ["pub", "a", "-H", "no colon"],
        ["pub", "a", "--token", "t", "--user", "u"],
    ],
)
def test_wrong_usage(args: list[str]) -> None:
    result = run(*args)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr


def test_the_module_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "stonechat", "--version"], capture_output=True, check=True)
    assert result.stdout.decode() == f"stonechat {stonechat.__version__}\n"


# Signals


@posix
@pytest.mark.parametrize(
    ("args", "until", "code"),
    [
        (["sub", "a"], "subscribed", 0),
        (["reply", "a", "x"], "answering", 0),
    ],
)
def test_ctrl_c_is_how_a_listener_ends(args: list[str], until: str, code: int) -> None:
    with Server() as server, running(*args, url=server.url, until=until) as process:
        process.send_signal(signal.SIGINT)
        assert output(process) == (code, "")
        assert process.stderr is not None


@posix
def test_ctrl_c_interrupts_a_request() -> None:
    with Server() as server, RawClient(server.url) as client:
        client.subscribe("deaf")
        process = subprocess.Popen(
            [command("stonechat"), "req", "deaf", "--timeout", "60s"], env=environment(server.url)
        )
        # When the request has arrived, the command waits for the reply.
        assert client.line().startswith("MSG deaf ")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == INTERRUPTED


# The server


SERVER_ARGS = ("-a", "127.0.0.1", "-p", "-1")


@posix
@pytest.mark.parametrize(("name", "before"), [("stonechat-server", []), ("stonechat", ["server"])])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_server_serves_until_it_is_told_to_stop(name: str, before: list[str], end: signal.Signals) -> None:
    with running(*before, *SERVER_ARGS, name=name, until="Server is ready") as process:
        match = re.search(r"Listening for client connections on (127\.0\.0\.1:\d+)", process.said)
        assert match is not None
        with RawClient(f"nats://{match[1]}"):
            pass
        process.send_signal(end)
        assert output(process) == (0, "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_a_broken_pipe_does_not_kill_the_server() -> None:
    with running(*SERVER_ARGS, name="stonechat-server", until="Server is ready") as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        match = re.search(r"SigIgn:\s*([0-9a-f]+)", status)
        assert match is not None
        assert int(match[1], 16) & (1 << (signal.SIGPIPE - 1))


def test_the_server_s_version() -> None:
    lines = run("--version", name="stonechat-server").stdout.decode().splitlines()
    assert lines[0] == f"nats-server: v{stonechat.NATS_VERSION}"
    assert run("server", "--version").stdout.decode().splitlines() == lines


def test_a_port_in_use_is_exit_code_1() -> None:
    with Server() as server:
        result = run("-a", "127.0.0.1", "-p", str(server.port), name="stonechat-server")
        assert result.returncode == 1
        assert b"in use" in result.stderr


# Closed pipes


def native(name: str) -> list[str] | None:
    """Returns the native program, if the test run has one."""
    path = os.environ.get("STONECHAT_SERVER") if name == "stonechat-server" else os.environ.get("STONECHAT_CLI")
    return [path] if path else None


@posix
@pytest.mark.parametrize("how", ["installed", "native"])
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("--no-such-flag",)], ids=str)
@pytest.mark.parametrize("name", ["stonechat", "stonechat-server"])
def test_a_reader_that_has_gone_is_no_error(name: str, arguments: tuple[str, ...], how: str) -> None:
    program = [command(name)] if how == "installed" else native(name)
    if program is None:
        pytest.skip("there is no native program")
    whole = subprocess.run([*program, *arguments], capture_output=True, timeout=60, check=False)
    gone, output_end = os.pipe()
    os.close(gone)
    try:
        for closed in ("stdout", "stderr"):
            other = "stderr" if closed == "stdout" else "stdout"
            streams = {closed: output_end, other: subprocess.PIPE}
            process = subprocess.Popen([*program, *arguments], **streams)  # type: ignore[call-overload]
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out or err or b"") == (whole.returncode, getattr(whole, other)), closed
    finally:
        os.close(output_end)


@posix
def test_a_server_with_closed_outputs_starts_and_ends(tmp_path: Path) -> None:
    gone, output_end = os.pipe()
    os.close(gone)
    arguments = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path)]
    process = subprocess.Popen([command("stonechat-server"), *arguments], stdout=output_end, stderr=output_end)
    os.close(output_end)
    try:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


# Input, JSON, contexts, TLS


def published(server: Server, *args: str, stdin: bytes = b"") -> list[bytes]:
    result = run("pub", *args, url=server.url, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return [message.data for message in server.published("a")]


def test_pub_reads_standard_input_when_it_is_no_terminal() -> None:
    with Server(record=True) as server:
        assert published(server, "a", stdin=b"two\nlines\n\xff") == [b"two\nlines\n\xff"]


def test_pub_with_a_payload_leaves_standard_input_alone() -> None:
    with Server(record=True) as server:
        assert published(server, "a", "given", stdin=b"not this") == [b"given"]


def test_pub_sends_a_message_a_line() -> None:
    with Server(record=True) as server:
        assert published(server, "a", "--lines", stdin=b"one\r\n\ntwo\nlast") == [b"one", b"", b"two", b"last"]


def test_pub_sends_lines_while_the_input_goes_on() -> None:
    with Server(record=True) as server:
        arguments = [command("stonechat"), "pub", "a", "--lines", "--json"]
        process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(server.url)
        )
        assert process.stdin is not None
        for number in range(1, 4):
            process.stdin.write(b"x\n")
            process.stdin.flush()
            server.wait_for_published("a", number, timeout=30)
        told, _ = process.communicate(timeout=60)
        assert json.loads(told) == {"subject": "a", "published": 3}


def test_messages_as_json() -> None:
    with Server() as server, running("sub", "a", "--json", "--count", "2", url=server.url, until="subscribed") as sub:
        run("pub", "a", "x", "-H", "Kind:tea", "--reply", "inbox", url=server.url)
        run("pub", "a", url=server.url, stdin=b"\xff\x00")
        code, text = output(sub)
        assert code == 0
        assert [json.loads(line) for line in text.splitlines()] == [
            {"subject": "a", "reply": "inbox", "headers": {"Kind": ["tea"]}, "data": "x"},
            {"subject": "a", "data_base64": "/wA="},
        ]


def test_a_context_of_the_nats_command(tmp_path: Path) -> None:
    folder = tmp_path / "nats" / "context"
    folder.mkdir(parents=True)
    with Server(user="joe", password="secret") as server:
        context = {"description": "", "url": server.url, "user": "joe", "password": "secret", "nsc": ""}
        (folder / "mine.json").write_text(json.dumps(context))

        def pub(name: str, *more: str) -> subprocess.CompletedProcess[bytes]:
            line = [command("stonechat"), "pub", "a", "x", "--context", name, *more]
            env = {**environment(None), "XDG_CONFIG_HOME": str(tmp_path)}
            return subprocess.run(line, capture_output=True, timeout=60, check=False, env=env)

        assert pub("mine").returncode == 0
        # The command line overrides the context.
        assert b"authorization violation" in pub("mine", "--user", "ann", "--password", "secret").stderr.lower()
        missing = pub("other")
        assert missing.returncode == 1
        assert b"other.json" in missing.stderr


def test_files_that_are_missing_are_named() -> None:
    for flag in ("--creds", "--nkey", "--tlsca"):
        result = run("pub", "a", "x", flag, "/no/such/file")
        assert (result.returncode, b"/no/such/file" in result.stderr) == (1, True), flag


def test_pub_over_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    pair = ca.issue_cert("127.0.0.1", "localhost")
    client = ca.issue_cert("joe@example.org")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    names = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "server", "client")}
    files = f'cert_file: "{names["server"]}", key_file: "{names["server"]}", ca_file: "{names["ca"]}"'
    config = f"tls {{ {files}, verify: true }}"
    with Server(config) as server:
        mine = ("--tlsca", names["ca"], "--tlscert", names["client"], "--tlskey", names["client"])
        assert run("pub", "a", "x", *mine, url=server.url).returncode == 0
        assert run("pub", "a", "x", "--tlsca", names["ca"], url=server.url).returncode == 1
        assert run("pub", "a", "x", "--tls", url=server.url).returncode == 1
