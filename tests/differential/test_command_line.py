"""The command line: exit codes and output, compared with the real server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.process import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .servers import Programs

FILES = {
    "ok.conf": "port: -1\n",
    "json.conf": '{"port": -1, "debug": false}\n',
    "unknown.conf": "port: -1\nnonsense: 1\n",
    "nested.conf": "port: -1\nauthorization {\n  user: a\n  colour: blue\n}\n",
    "eof.conf": "port: -1\nauthorization {\n user: x\n",
    "type.conf": 'max_payload: "abc"\n',
    "empty.conf": "",
    "comment.conf": "# nothing here\n",
    "warning.conf": "ping_interval: 5\n",
    "variable.conf": "port: $UNDEFINED_VARIABLE_OF_A_TEST\n",
    "variable_ok.conf": "number: 4\nmax_connections: $number\n",
    "include.conf": "include missing.conf\n",
    "include_ok.conf": "include ok.conf\nmax_payload: 1k\n",
    "pending.conf": "max_payload: 2MB\nmax_pending: 1MB\n",
    "two_errors.conf": "first: 1\nsecond: 2\n",
    "user_and_token.conf": "authorization { user: a, password: b, token: c }\n",
    "users_twice.conf": "authorization { users = [ {user: a, password: b}, {user: a, password: c} ] }\n",
    "no_auth_user.conf": "no_auth_user: nobody\n",
    "bad_subject.conf": 'authorization { users = [ {user: a, password: b, permissions: {publish: "a..b"}} ] }\n',
    "lame_duck.conf": 'lame_duck_duration: "5s"\n',
    "lame_duck_grace.conf": 'lame_duck_duration: "40s"\nlame_duck_grace_period: "50s"\n',
    "name_with_blank.conf": 'server_name: "a b"\n',
    "tokens.conf": "max_subscription_tokens: 300\n",
    "negative_size.conf": "max_payload: -5\n",
}


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with the configuration files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(program: Path, args: Sequence[str], folder: Path) -> Result:
    """Runs a server program that must end by itself."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        [program, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def normalised(text: str) -> str:
    """Returns the text of standard error without program names, digests, pids and times."""
    text = re.sub(r"^(nats|stonechat)-server: ", "PROGRAM:\n", text, flags=re.MULTILINE)
    text = re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", text)
    return re.sub(r"^(\[\d+\] )?\d{4}/\d\d/\d\d [\d:.]+ ", "", text, flags=re.MULTILINE)


def lines(text: str) -> list[str]:
    """Returns the normalised lines that are not empty, sorted."""
    return sorted(filter(None, normalised(text).splitlines()))


GO_WORDS = {
    "type.conf": r"max_payload|type\.conf",
    "variable.conf": "UNDEFINED_VARIABLE",
    "include.conf": r"missing\.conf",
    "eof.conf": "Parse error on line 4: ",
    "bad_subject.conf": 'subject "a..b" is not a valid subject',
}
"""Files whose errors in nats-server name Go types or no place, with a pattern that both error texts must contain."""

SAME_ERROR = [
    ["extra"],
    ["-D", "extra"],
    ["-t"],
    ["-c", "missing.conf"],
    ["-c", "missing.conf", "-t"],
    *([*("-c", name), "-t"] for name in FILES if name not in GO_WORDS),
    ["-c", "unknown.conf"],
    ["--config=ok.conf", "-t"],
    ["--config", "ok.conf", "-t=true"],
    ["-p", "-1", "-c", "ok.conf", "-t"],
    ["--routes", "nats://127.0.0.1:5", "-p", "-1"],
    ["--tls", "-p", "-1"],
    ["--tls", "--tlscert", "x", "-p", "-1"],
    ["--signal", "reload=99999999"],
    ["--signal", "reload=nofile"],
    ["-sl", "a=b=c"],
    ["-p", "-1", "-l", "/nonexistent/x.log"],
]
"""Arguments for which output and exit code must be the same."""


@pytest.mark.parametrize("args", SAME_ERROR, ids=" ".join)
def test_same_words(programs: Programs, folder: Path, args: list[str]) -> None:
    """Exit code and standard error are the same, except for the order of errors, which nats-server does not define."""
    expected, got = (run(program, args, folder) for program in programs)
    assert got.code == expected.code
    assert lines(got.err) == lines(expected.err)


@pytest.mark.parametrize("name", GO_WORDS)
@pytest.mark.parametrize("flags", [[], ["-t"]], ids=["start", "-t"])
def test_same_place(programs: Programs, folder: Path, name: str, flags: list[str]) -> None:
    """Errors whose text names Go types in nats-server have the same exit code; ours names the file or the cause."""
    expected, got = (run(program, ["-c", name, *flags], folder) for program in programs)
    assert got.code == expected.code == 1
    for result in (expected, got):
        assert re.search(GO_WORDS[name], result.err), result.err


@pytest.mark.parametrize("flag", ["--version", "-version", "-v", "--v", "version"])
def test_version(programs: Programs, tmp_path: Path, flag: str) -> None:
    """The first line, which programs parse, is the same."""
    for program in programs:
        result = run(program, [flag], tmp_path)
        assert result.code == 0
        assert re.fullmatch(r"nats-server: v2\.15\.\d+", result.out.splitlines()[0])
        assert result.err == ""


def test_what_would_not_start_is_not_valid(programs: Programs, tmp_path: Path) -> None:
    """Ours refuses to start without a configured protection that it lacks, and `-t` reports this too."""
    (tmp_path / "nkey.conf").write_text(
        "authorization { users: [ {nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4} ] }\n",
        encoding="utf-8",
    )
    result = run(programs.ours, ["-t", "-c", "nkey.conf"], tmp_path)
    assert result.code == 1
    assert "authorization.users.nkey is not supported yet" in result.err


@pytest.mark.parametrize("flag", ["--help", "-help", "-h", "--h", "help"])
def test_help(programs: Programs, tmp_path: Path, flag: str) -> None:
    """Help is written to standard output and names the flags."""
    for program in programs:
        result = run(program, [flag], tmp_path)
        assert result.code == 0
        assert "Usage:" in result.out
        for name in ("--port", "--config", "--jetstream", "--http_port", "--signal", "--ports_file_dir"):
            assert name in result.out, name
        assert result.err == ""


def test_help_tls(programs: Programs, tmp_path: Path) -> None:
    """`--help_tls` prints a text about TLS."""
    for program in programs:
        result = run(program, ["--help_tls"], tmp_path)
        assert result.code == 0
        assert "tls {" in result.out


@pytest.mark.parametrize(
    "args",
    [["-x"], ["--nonsense=1"], ["-p"], ["-p", "abc"], ["-D=maybe"], ["--max_traced_msg_len", "x"], ["-p", "1.5"]],
    ids=" ".join,
)
def test_bad_flags(programs: Programs, tmp_path: Path, args: list[str]) -> None:
    """The error is written to standard error and the usage to standard output; the exit code is 0, as in Go."""
    expected, got = (run(program, args, tmp_path) for program in programs)
    assert (got.code, got.err) == (expected.code, expected.err)
    assert "Usage:" in got.out


def test_port_in_use(programs: Programs, tmp_path: Path) -> None:
    """A port in use is a fatal error in the log."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        results = [run(program, ["-a", LOOPBACK, "-p", str(port)], tmp_path) for program in programs]
    expected, got = ([line for line in normalised(r.err).splitlines() if "[FTL]" in line] for r in results)
    address = f"{LOOPBACK}:{port}"
    assert expected == [
        f'[FTL] Error listening on port: {address}, "listen tcp {address}: bind: address already in use"'
    ]
    assert [line.partition(', "')[0] for line in got] == [line.partition(', "')[0] for line in expected]
    assert "address already in use" in got[0].lower()
    assert [result.code for result in results] == [1, 1]


def test_monitoring_port_in_use(programs: Programs, tmp_path: Path) -> None:
    """A monitoring port in use is a fatal error in the log."""
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        results = [run(program, ["-a", LOOPBACK, "-p", "-1", "-m", port], tmp_path) for program in programs]
    for result in results:
        assert result.code == 1
        assert "[FTL]" in result.err
