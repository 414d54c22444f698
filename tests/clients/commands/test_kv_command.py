"""`stonechat kv` compared with `nats kv`: the same lines have the same effects, on our server and on the real one."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import compare, execute, lines
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path


SCENARIOS = {
    "values": [
        "kv add A",
        "kv put A a.b one",
        "kv put A a.b two",
        "kv get A a.b",
        "kv get A a.b --raw",
        "kv get A a.b --revision 1",
        "kv get A a.b --revision 2",
        "kv get A a.b --revision 9",
        "kv get A nothing",
        "kv create A a.b again",
        "kv create A new 1",
        "kv update A a.b three 2",
        "kv update A a.b four 2",
        "kv update A fresh 1 0",
        "kv ls A",
        "kv ls A --names",
        "kv ls A 'a.*'",
        "kv ls A -v",
        "kv ls A -v --display-value",
        "kv history A a.b",
        "kv history A nothing",
        "kv del A a.b",
        "kv del A a.b --force",
        "kv get A a.b",
        "kv create A a.b back",
        "kv purge A a.b -f",
        "kv purge A a.b",
        "kv ls A",
        "kv compact A",
        "kv compact A --force",
        "kv info A",
    ],
    "history": [
        "kv add H --history 5 --storage memory --description 'for five'",
        "kv put H k 1",
        "kv put H k 2",
        "kv put H k 3",
        "kv history H k",
        "kv revert H k 1",
        "kv revert H k 1 --force",
        "kv revert H k 77 --force",
        "kv revert H nothing 1 --force",
        "kv del H k -f",
        "kv history H k",
        "kv purge H k -f",
        "kv history H k",
        "kv rm H k -f",
        "kv compact H -f",
        "kv ls H",
        "kv del H",
        "kv rm H --force",
        "kv info H",
        "kv rm H --force",
    ],
    "configurations": [
        "kv add A --ttl 1h --max-value-size 1KB --max-bucket-size 1MB --compress",
        "kv add A --ttl 1h --max-value-size 1KB --max-bucket-size 1MB --compress",
        "kv add A",
        "kv new B --history 64 --marker-ttl 5m",
        "kv add C --history 65",
        "kv add D --history 0",
        "kv add 'no.bucket'",
        "kv add 'no bucket'",
        "kv add E --replicas 3",
        "kv add F --republish-source '>' --republish-destination 'again.>'",
        "kv add G --republish-source '>' --republish-destination 'again.>' --republish-headers",
        "kv add K --storage m --ttl 30s",
        "kv add L --storage nowhere",
        "kv add M --ttl later",
        "kv add O --max-value-size big",
        "kv add P --metadata team=core",
        "kv edit A --history 3 --description changed",
        "kv edit A --max-value-size 2KB --ttl 2h",
        "kv edit B --marker-ttl 10m",
        "kv edit nothing --history 2",
        "kv view A",
        "kv status B",
        "kv ls",
        "kv ls --names",
        "kv list",
        "kv put A key xxxxxxxxxxxx",
        "kv create B k v --ttl 1m",
        "kv purge B k -f --ttl 2m",
        "kv create A k v --ttl 1m",
        "kv put nothing k v",
        "kv get nothing k",
        "kv ls nothing",
        "kv del nothing k -f",
        "kv watch nothing",
        "kv put A 'no key' v",
        "kv put A '' v",
        "kv put A a..b v",
        "kv get A 'x>'",
        "kv",
        "kv nonsense",
        "kv add",
        "kv get A",
        "kv update A k v",
        "kv update A k v x",
        "kv get A key --revision x",
        "kv ls A --nonsense",
    ],
    "copies": [
        "kv add A",
        "kv put A a 1",
        "kv put A b 2",
        "kv add M --mirror A",
        "kv add S --source A",
        "kv info M",
        "kv info S",
        "kv add T --source nothing",
        "kv put M c 3",
        "kv get A c",
    ],
}
"""Command lines of each scenario, run in sequence."""

BETTER = frozenset({"kv revert H k 77 --force"})
"""Lines whose exit codes may differ, because of bugs in the tool."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_lines_have_the_same_effects(name: str, command: Path, either_program: Path) -> None:
    """Exit codes and stored data are the same as with the tool, on both servers."""
    differing = compare(either_program, command, SCENARIOS[name], better=BETTER)
    assert not differing, differing


def test_values_of_all_kinds_come_back(command: Path, server: ServerProcess) -> None:
    """Text, binary, long and empty values are put from standard input and returned unchanged, also as JSON."""
    assert execute(command, "kv add VALUES", server).returncode == 0
    for value in (b"text", b"", b"\x00\xff\x1b[2J", b"x" * 700_000, "grüße\n".encode()):
        told = execute(command, "kv put VALUES k --json", server, stdin=value)
        assert told.returncode == 0, told.stderr
        assert execute(command, "kv get VALUES k --raw", server).stdout == value
        entry = json.loads(execute(command, "kv get VALUES k --json", server).stdout)
        assert entry["revision"] == json.loads(told.stdout)["revision"]
        stored = entry["value"].encode() if "value" in entry else base64.b64decode(entry["value_base64"])
        assert stored == value
    assert b"\x1b" not in execute(command, "kv history VALUES k", server).stdout


def test_lists_as_json_have_a_line_each(command: Path, server: ServerProcess) -> None:
    """Every list command prints one object per line."""
    for bucket in ("LISTED", "EMPTY"):
        execute(command, f"kv add {bucket} --history 3", server)
    for key in ("a.x", "a.y", "b.x"):
        execute(command, f"kv put LISTED {key} v", server)
    execute(command, "kv put LISTED a.x w", server)

    assert {bucket["bucket"] for bucket in lines(command, "kv ls --json", server)} >= {"LISTED", "EMPTY"}
    assert [entry["key"] for entry in lines(command, "kv ls LISTED --json", server)] == ["a.y", "b.x", "a.x"]
    assert [entry["key"] for entry in lines(command, "kv ls LISTED '*.x' --json", server)] == ["b.x", "a.x"]
    assert [entry["revision"] for entry in lines(command, "kv ls LISTED -v --json", server)] == [2, 3, 4]
    assert [entry["value"] for entry in lines(command, "kv history LISTED a.x --json", server)] == ["v", "w"]
    assert lines(command, "kv ls EMPTY --json", server) == []
    info = json.loads(execute(command, "kv info LISTED --json", server).stdout)
    assert (info["bucket"], info["stream"]["config"]["name"]) == ("LISTED", "KV_LISTED")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kv get CONFIG k", 'bucket CONFIG not found; "stonechat kv add CONFIG" creates it'),
        ("kv get ERRORS k", 'key "k" not found in bucket ERRORS'),
        ("kv del ERRORS k", "nobody can be asked without a terminal; --force acts at once"),
        ("kv put ERRORS 'a b' v", "a key is made of letters, digits"),
        ("kv add 'a.b'", "the name of a bucket is made of letters, digits, - and _"),
        ("kv create ERRORS there v", 'key "there" exists in bucket ERRORS at revision 1'),
        ("kv put ERRORS big -", "more than the server's max_payload"),
    ],
)
def test_errors_say_what_to_do(line: str, said: str, command: Path, server: ServerProcess) -> None:
    """An error is one sentence on standard error, with nothing on standard output and a non-zero exit code."""
    execute(command, "kv add ERRORS", server)
    execute(command, "kv create ERRORS there v", server)
    done = execute(command, line, server, stdin=b"x" * 1_100_000)
    assert done.returncode != 0
    assert said in done.stderr.decode()
    assert done.stdout == b""


def test_a_watch_prints_each_change(command: Path, server: ServerProcess) -> None:
    """A watch prints the last values, then changes; also with history, without deletes, or from a revision."""
    execute(command, "kv add WATCHED --history 5", server)
    for line in ("kv put WATCHED k 1", "kv put WATCHED k 2", "kv put WATCHED other 3", "kv del WATCHED other -f"):
        assert execute(command, line, server).returncode == 0
    cases = {
        "kv watch WATCHED": ["PUT WATCHED > k: 2", "DELETE WATCHED > other", "PUT WATCHED > last: x"],
        "kv watch WATCHED k": ["PUT WATCHED > k: 2"],
        "kv watch WATCHED --history --no-deletes": [
            "PUT WATCHED > k: 1",
            "PUT WATCHED > k: 2",
            "PUT WATCHED > other: 3",
            "PUT WATCHED > last: x",
        ],
        "kv watch WATCHED --revision 2": [
            "PUT WATCHED > k: 2",
            "PUT WATCHED > other: 3",
            "DELETE WATCHED > other",
            "PUT WATCHED > last: x",
        ],
    }
    execute(command, "kv put WATCHED last x", server)
    for line, expected in cases.items():
        environment = {**os.environ, "NATS_URL": f"nats://127.0.0.1:{server.port}", "HOME": str(server.directory)}
        process = subprocess.Popen([command, *shlex.split(line)], stdout=subprocess.PIPE, env=environment)
        try:
            assert process.stdout is not None
            got = [process.stdout.readline().decode().rstrip("\n") for _ in expected]
        finally:
            process.terminate()
            process.communicate()
        assert [re.sub(r"^\[[-0-9: ]+\] ", "", text) for text in got] == expected, line


def test_create_and_update_have_one_winner(command: Path, server: ServerProcess) -> None:
    """Of many concurrent creations of a key one succeeds; the others name its revision."""
    execute(command, "kv add RACED", server)
    environment = {**os.environ, "NATS_URL": f"nats://127.0.0.1:{server.port}", "HOME": str(server.directory)}
    racers = [
        subprocess.Popen(
            [command, "kv", "create", "RACED", "k", str(i)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for i in range(8)
    ]
    ended = [(racer.communicate(timeout=60), racer.returncode) for racer in racers]
    assert sorted(code for _, code in ended) == [0] + [1] * 7
    assert all(b"at revision 1" in said for (_, said), code in ended if code)
