"""`stonechat stream` compared with `nats stream`: the same lines in both, on our server and on the real one."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import compare, execute, lines
from tests.clients.terminals import Terminal
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = {
    "configurations": [
        "stream add A --subjects a.> --defaults",
        "stream add A --subjects a.> --defaults",
        "stream add A --subjects other --defaults",
        "stream add B --subjects b1,b2 --subjects b3 --defaults --storage memory --max-msgs 10 --max-age 1h",
        "stream create C --subjects c --defaults --retention work --discard new --max-bytes 1MB --max-msg-size 1KB",
        (
            "stream new D --subjects d.* --defaults --retention interest --max-msgs-per-subject 5 --discard new "
            "--discard-per-subject"
        ),
        "stream add E --subjects e --defaults --deny-delete --deny-purge --allow-rollup --no-allow-direct --no-ack",
        "stream add F --subjects f --defaults --allow-msg-ttl --subject-del-markers-ttl 5m --dupe-window 30s",
        "stream add G --subjects g --defaults --compression s2 --description 'for tests' --metadata team=core",
        "stream add H --subjects h.> --defaults --republish-source 'h.>' --republish-destination 'again.>'",
        "stream add I --subjects i.> --defaults --transform-source 'i.*' --transform-destination 'j.{{wildcard(1)}}'",
        (
            "stream add K --subjects k --defaults --max-consumers 3 --limit-consumer-inactive 1h "
            "--limit-consumer-max-pending 50"
        ),
        "stream add L --subjects l --defaults --first-sequence 100",
        "stream add M --mirror A --defaults",
        "stream add N --source A --source B --defaults",
        """stream add O --source '{"name":"A","filter_subject":"a.x"}' --defaults""",
        "stream add P --mirror A --subjects p --defaults",
        "stream add Q --subjects q --defaults --allow-batch",
        "stream add R --subjects r --defaults --allow-counter",
        "stream add S --subjects s --defaults --allow-fast",
        "stream add T --subjects t --defaults --allow-schedules",
        "stream add U --subjects '>' --defaults",
        "stream add V --subjects v --replicas 3 --defaults",
        "stream add 'no name' --subjects x --defaults",
        "stream add W.x --subjects x --defaults",
        "stream add X --subjects x",
        "stream add X --defaults",
        "stream add --defaults --subjects x",
        "stream add X --subjects x --defaults --retention forever",
        "stream add X --subjects x --defaults --storage nowhere",
        "stream add X --subjects x --defaults --discard both",
        "stream add X --subjects x --defaults --max-age later",
        "stream add X --subjects x --defaults --max-bytes big",
        "stream add X --subjects x --defaults --max-msgs many",
        "stream add X --subjects x --defaults --republish-source x",
        "stream add X --subjects x --defaults --transform-source x",
        "stream add X --subjects x --defaults --config nothing.json",
        "stream add X --subjects x --defaults --nonsense",
        "stream add X --subjects x --defaults --max-age 30s",
        "stream add Y --subjects y --defaults --validate",
        "stream add Y --subjects y --defaults --output y.json",
        "stream add Y --config y.json --description 'from a file'",
        "stream add Z --config y.json --subjects z",
        "stream add AA --subjects aa --defaults --persist-mode async",
        "stream add BB --subjects bb --defaults --cluster nowhere",
        "stream ls",
        "stream ls --names",
        "stream ls --subject a.b",
        "stream ls --json",
        "stream list -a",
        "stream report",
        "stream report --raw --consumers",
        "stream report -m",
        "stream report --dot graph.dot",
        "stream report --subject a.x",
        "stream info A",
        "stream info A --json",
        "stream info M --json",
        "stream info A --state",
        "stream state A",
        "stream state A --json",
        "stream info nothing",
        "stream info",
        "stream info nothing --no-select",
        "str i B --json",
        "s state B",
        "stream",
        "stream nonsense",
    ],
    "edits": [
        "stream add A --subjects a.> --defaults --max-msgs 5 --metadata old=1",
        "stream edit A --force --max-msgs 10",
        "stream edit A --force --max-msgs 10",
        "stream edit A --max-msgs 11",
        "stream edit A --dry-run --max-msgs 12",
        "stream edit A --dry-run --max-msgs 10",
        "stream edit A -f --subjects a.>,b.> --description text --max-age 2h --dupe-window 1m",
        "stream edit A -f --subjects b.> --subjects a.>",
        "stream edit A -f --max-bytes 2MB --max-msg-size 4KB --max-consumers 7 --max-msgs-per-subject 3",
        "stream edit A -f --discard new --allow-rollup --no-allow-direct",
        "stream edit A -f --metadata new=2",
        "stream edit A -f --republish-source 'a.>' --republish-destination 'again.>' --republish-headers",
        "stream edit A -f --no-republish",
        "stream edit A -f --transform-source 'a.>' --transform-destination 'c.>'",
        "stream edit A -f --no-transform",
        "stream edit A -f --compression s2",
        "stream edit A -f --retention work",
        "stream edit A -f --deny-purge",
        "stream edit A -f --no-deny-purge",
        "stream edit A -f --replicas 3",
        "stream edit A -f --mirror B",
        "stream edit A -f --source B",
        "stream edit A -f --allow-msg-ttl",
        "stream edit nothing -f --max-msgs 1",
        "stream edit A -f --config nothing.json",
        "stream update A -f --description updated --json",
        "stream add C --subjects x.y --defaults --output c.json",
        "stream edit A -f --config c.json",
        "stream edit A -f --subjects 'a b'",
        "stream copy A B",
        "stream copy A B --subjects copied",
        "stream cp A C --subjects other --storage memory --max-msgs 99",
        "stream copy nothing D --subjects d",
        "stream copy A A",
        "stream copy A",
        "stream add M --mirror A --defaults",
        "stream edit M -f --no-mirror",
        "stream edit M -f --subjects m",
        "stream seal B",
        "stream seal B --force",
        "stream edit B -f --max-msgs 1",
        "stream rm B",
        "stream rm B --force",
        "stream rm B --force",
        "stream rm --force",
        "stream del C -f",
        "kv add K",
        "stream edit KV_K -f --max-msgs 10",
        "stream purge KV_K -f",
        "stream rm KV_K -f",
    ],
    "messages": [
        "stream add A --subjects a.> --defaults",
        "pub a.x one",
        "pub a.x two -H Trace:1 -H Trace:2",
        "pub a.y three",
        "pub a.z.z four",
        "pub a.x five",
        "stream get A 1",
        "stream get A 2 --json",
        "stream get A 99",
        "stream get A --last-for a.x",
        "stream get A -S a.y --json",
        "stream get A -S a.nothing",
        "stream get A 1 --translate 'tr a-z A-Z'",
        "stream get A",
        "stream get nothing 1",
        "stream subjects A",
        "stream subjects A a.*",
        "stream subjects A nothing",
        "stream subjects A --names --sort name",
        "stream subjects A --json",
        "stream subj A --sort messages --reverse",
        "stream subjects A --sort size",
        "stream subjects nothing",
        "stream gaps A",
        "stream rmm A 3",
        "stream rmm A 3 --force",
        "stream rmm A 3 --force",
        "stream rmm A 99 -f",
        "stream rmm A x -f",
        "stream rmm nothing 1 -f",
        "stream gaps A",
        "stream gaps A --force",
        "stream gaps A -f --json",
        "stream gaps A -f --no-progress",
        "stream gaps nothing -f",
        "stream purge A",
        "stream purge A --subject a.z.z --force",
        "stream purge A --seq 2 -f",
        "stream purge A --keep 1 -f",
        "stream purge A --keep 1 --seq 1 -f",
        "stream purge nothing -f",
        "pub a.x again",
        "stream purge A --subject a.x --keep 1 -f",
        "stream find",
        "stream find --empty",
        "stream find --empty --invert --names",
        "stream find --subject 'a.*'",
        "stream find --subject 'a.>' --names",
        "stream find --consumers 0 --names",
        "stream query --replicas 1 --names",
        "stream find --created 1h -n",
        "stream find --idle 1h -n",
        "stream find --sourced -n",
        "stream find --mirrored -n",
        "stream find --api-level 2 -n",
        "stream find --created later",
        "stream purge A -f",
        "stream state A --json",
        "stream graph A",
    ],
    "backups": [
        "stream add A --subjects a.> --defaults",
        "pub a.x one",
        "pub a.y two",
        (
            "req $JS.API.CONSUMER.CREATE.A.C '"
            """{"stream_name":"A","config":{"name":"C","durable_name":"C","ack_policy":"explicit"}}'"""
        ),
        "stream backup A saved",
        "stream backup A saved",
        "stream backup A checked --check --no-progress",
        "stream backup A bare --no-consumers --chunk-size 1KB",
        "stream backup nothing saved2",
        "stream backup A",
        "stream restore saved",
        "stream rm A -f",
        "stream restore saved",
        "stream state A --json",
        "stream rm A -f",
        "stream restore bare --no-progress",
        "stream info A --json",
        "stream rm A -f",
        "stream restore nothing",
        "stream restore saved --replicas 3",
        "stream restore checked --config nothing.json",
        "stream restore checked",
        "stream add M --subjects m --defaults --storage memory",
        "stream backup M memory",
        "stream snapshot A again",
        "stream restore",
    ],
}
"""Command lines of each scenario, run in sequence."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_lines_have_the_same_effects(name: str, command: Path, either_program: Path) -> None:
    """Exit codes, JSON keys and stored data are the same as with the tool, on both servers."""
    differing = compare(either_program, command, SCENARIOS[name])
    assert not differing, differing


def test_lists_as_json_have_a_line_each(command: Path, server: ServerProcess) -> None:
    """Every list prints one object per line, with the field names of the API."""
    for line in ("stream add L --subjects l.> --defaults", "pub l.a 1", "pub l.b 2", "pub l.b 3", "kv add LISTED"):
        assert execute(command, line, server).returncode == 0
    assert [info["config"]["name"] for info in lines(command, "stream ls --subject l.> --json", server)] == ["L"]
    assert {"name": "KV_LISTED"} in lines(command, "stream ls -a --names --json", server)
    assert {"subject": "l.b", "messages": 2} in lines(command, "stream subjects L --json", server)
    assert [message["seq"] for message in lines(command, "stream view L --json", server)] == [1, 2, 3]
    assert [message["seq"] for message in lines(command, "stream view L --subject l.b --id 3 --json", server)] == [3]
    assert execute(command, "stream rmm L 2 -f", server).returncode == 0
    assert lines(command, "stream gaps L -f --json", server) == [{"first": 2, "last": 2}]
    row = next(row for row in lines(command, "stream report --json", server) if row["name"] == "L")
    assert (row["messages"], row["deleted"], row["storage"]) == (2, 1, "file")


def test_names_and_bodies_of_others_move_no_cursor(command: Path, server: ServerProcess) -> None:
    """Control characters in descriptions, subjects, headers and bodies are escaped in every output."""
    assert execute(command, "stream add T --subjects t.> --defaults --description 'a\x1b[2Jb'", server).returncode == 0
    assert execute(command, "pub t.\u202ex -", server, stdin=b"x\x1b[2J\x07").returncode == 0
    for line in (
        "info T",
        "ls",
        "report",
        "subjects T",
        "get T 1",
        "view T",
        "find",
        "edit T --description c --dry-run",
    ):
        done = execute(command, f"stream {line}", server)
        assert not set(done.stdout.decode() + done.stderr.decode()) & set("\x1b\x07\u202e"), line
    raw = execute(command, "stream view T --raw", server)
    assert raw.stdout == b"x\x1b[2J\x07\n"


def test_a_large_stream_is_saved_and_restored(command: Path, server: ServerProcess) -> None:
    """Backup and restore need several chunks and windows. An incomplete backup is replaced, a complete one is not."""
    assert execute(command, "stream add BIG --subjects big.> --defaults", server).returncode == 0
    body = base64.b64encode(os.urandom(600_000))
    for _ in range(8):
        assert execute(command, "pub big.x -", server, stdin=body).returncode == 0
    (server.directory / "big").mkdir()
    (server.directory / "big" / "backup.json").write_text("")
    [told] = lines(command, "stream backup BIG big --json", server)
    assert told["chunks"] > 20
    state = json.loads(execute(command, "stream state BIG --json", server).stdout)["state"]
    refused = execute(command, "stream backup BIG big", server)
    assert refused.returncode == 1
    assert b"holds a backup already" in refused.stderr
    assert execute(command, "stream rm BIG -f", server).returncode == 0
    restored = execute(command, "stream restore big --json", server)
    assert restored.returncode == 0, restored.stderr
    back = json.loads(restored.stdout)["state"]
    assert (back["messages"], back["last_seq"]) == (state["messages"], state["last_seq"])
    last = json.loads(execute(command, "stream get BIG -S big.x --json", server).stdout)
    assert base64.b64decode(last["data"]) == body


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stream info ORDERS", 'stream ORDERS not found; "stonechat stream add ORDERS" creates it'),
        ("stream add X --subjects x", '"Storage" can\'t be asked without a terminal; --storage answers it'),
        ("stream add X --defaults", '"Subjects" can\'t be asked without a terminal; --subjects answers it'),
        ("stream add a.b --subjects x --defaults", "a name holds no spaces, dots, *, >, / or \\"),
        ("stream add X --subjects x --config gone.json", "cannot use gone.json"),
        ("stream rm S", "nobody can be asked without a terminal; --force acts at once"),
        ("stream edit S -f --mirror A", "mirror and sources can't be changed by flags"),
        ("stream edit S -i -f", "set EDITOR to the program of your choice"),
        ("stream restore gone", "cannot use gone/backup.json"),
        ("stream purge KV_K", 'use "stonechat kv" instead'),
        ("stream purge KV_K -f", 'use "stonechat kv" instead'),
        ("stream rmm KV_K 1 -f", 'use "stonechat kv" instead'),
        ("stream graph S", "graphs need a terminal"),
    ],
)
def test_errors_say_what_to_do(line: str, said: str, command: Path, server: ServerProcess) -> None:
    """An error is one sentence on standard error, with nothing on standard output and a non-zero exit code."""
    for made in ("stream add S --subjects s --defaults", "kv add K"):
        execute(command, made, server)
    done = execute(command, line, server, environment={"EDITOR": ""})
    assert done.returncode != 0
    assert said in done.stderr.decode()
    assert done.stdout == b""


def test_a_configuration_is_edited_in_an_editor(command: Path, server: ServerProcess) -> None:
    """`--interactive` applies the configuration that the editor saved."""
    execute(command, "stream add E --subjects e --defaults", server)
    editor = {"EDITOR": 'sed -i \'s/"max_msgs": -1/"max_msgs": 77/\''}
    done = execute(command, "stream edit E -i -f --json", server, environment=editor)
    assert json.loads(done.stdout)["config"]["max_msgs"] == 77, done.stderr
    failed = execute(command, "stream edit E -i -f", server, environment={"EDITOR": "false"})
    assert failed.returncode == 1


def test_questions_are_asked_on_a_terminal(command: Path, server: ServerProcess) -> None:
    """Without flags, the command asks for each setting. An empty answer is the default; a wrong one is asked again."""
    with Terminal(command, "stream add", server) as terminal:
        for question, answer in [
            ("Stream Name", "ASKED"),
            ("Subjects", "asked.>, more"),
            ("Storage", "memory"),
            ("Replication", ""),
            ("Retention Policy", "3"),
            ("Discard Policy", ""),
            ("Stream Messages Limit", "many"),
            ("Stream Messages Limit", "500"),
            ("Per Subject Messages Limit", ""),
            ("Total Stream Size", "1MB"),
            ("Message TTL", "1h"),
            ("Max Message Size", ""),
            ("Duplicate tracking time window (2m0s)", ""),
            ("Allow message Roll-ups", "y"),
            ("Allow message deletion", "n"),
            ("Allow purging", ""),
        ]:
            terminal.answer(question, answer)
        assert "Stream ASKED was created" in terminal.rest()
    config = json.loads(execute(command, "stream info ASKED --json", server).stdout)["config"]
    expected = {
        "subjects": ["asked.>", "more"],
        "storage": "memory",
        "retention": "workqueue",
        "max_msgs": 500,
        "max_bytes": 1 << 20,
        "max_age": 3600 * 10**9,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "deny_purge": False,
    }
    assert {name: config[name] for name in expected} == expected
    with Terminal(command, "stream rm ASKED", server) as terminal:
        terminal.answer("Really delete Stream ASKED", "n")
        terminal.rest()
    with Terminal(command, "stream info", server) as terminal:
        terminal.answer("Select a Stream", "ASKED")
        assert "Information for Stream ASKED" in terminal.rest()
    with Terminal(command, "stream rm ASKED", server) as terminal:
        terminal.wait_for("Really delete Stream ASKED")
        terminal.interrupt()
        assert terminal.code() == 130
