"""`stonechat context`, `account`, `counter`, `rtt`, `errors` and `completion` compared with the `nats` tool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import compare, execute, lines
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = {
    "contexts": [
        "context ls",
        "context info",
        "context select",
        "context select nothing",
        "context previous",
        "context unselect",
        "context add one --server nats://one:4222 --description 'the first'",
        "context add two --server nats://two:4222 --user joe --password pw",
        "context add three --server nats://three:4222 --user token",
        "context add four --server nats://four --creds x.creds --js-domain hub",
        "context add five --context two --description copied",
        "context create six --nkey seed.nk --tlsfirst --js-api-prefix prefix.API",
        "context save one --description changed",
        "context add 'with space' --server nats://space",
        "context add ../up",
        "context add a/b",
        "context add",
        "context ls",
        "context ls --names",
        "context ls --json",
        "context list",
        "context info one",
        "context info one --json",
        "context show four",
        "context info nothing",
        "context info",
        "context copy one seven --description 'from one'",
        "context cp one seven",
        "context copy nothing eight",
        "context copy two eight --server nats://eight",
        "context select one",
        "context info",
        "context select two",
        "context previous",
        "context -",
        "context set three",
        "context unselect",
        "context select nothing",
        "context validate one",
        "context validate four",
        "context validate nothing",
        "context validate",
        "context validate one --connect",
        "context add here --select",
        "context validate here --connect",
        "context info here --connect",
        "stream ls --context here",
        "stream ls --context nothing",
        "context rm here",
        "context rm one",
        "context rm one --force",
        "context rm one --force",
        "context rm here -f",
        "context rm nothing -f",
        "context edit nothing",
        "context edit two",
        "context",
        "ctx nonsense",
    ],
    "counters": [
        "stream add C --subjects c.> --allow-counter --defaults",
        "stream add P --subjects p.> --defaults",
        "counter get c.a",
        "counter increment c.a 5",
        "counter incr c.a 99999999999999999999999999999",
        "counter inc c.b -- -3",
        "counter decrement c.a 2",
        "counter dec c.b 1",
        "counter get c.a",
        "counter g c.b",
        "counter get c.b --stream C",
        "counter view c.a",
        "counter v c.b",
        "counter list c.*",
        "counter ls --stream C",
        "counter list --json c.a",
        "counter list c.nothing",
        "counter list",
        "counter increment c.a many",
        "counter increment c.a 1.5",
        "counter increment p.x 1",
        "counter increment nobody.listens 1",
        "counter get p.x",
        "counter get nobody.listens",
        "counter get c.a --stream nothing",
        "counter",
        "ctr nonsense",
    ],
    "accounts": [
        "stream add A --subjects a --defaults",
        "stream add B --subjects b --defaults",
        "pub a 1",
        "account info",
        "a nfo",
        "account backup all",
        "account backup all --force",
        "account restore all",
        "stream rm A -f",
        "stream rm B -f",
        "account restore all",
        "account restore nothing",
        "account backup other -f --no-consumers --check",
        "stream add M --subjects m --defaults --storage memory",
        "account backup third -f",
        "account backup fourth -f --critical-warnings",
        "rtt",
        "rtt 2",
        "rtt 2 --json",
        "rtt many",
        "rtt 1 --server nats://127.0.0.1:1",
        "errors ls",
        "errors list 'not found'",
        "errors ls stream http",
        "errors ls stream description -R",
        "errors ls 'nothing like this'",
        "errors lookup 10059",
        "errors find 10014",
        "err get 10058",
        "errors lookup 1",
        "errors lookup x",
        "errors",
        "account",
    ],
}
"""Command lines of each scenario, run in sequence."""

BETTER = frozenset(
    {
        # An unreachable server and a missing context are failures in ours.
        "rtt 1 --server nats://127.0.0.1:1",
        "context validate nothing",
        # The tool has this alias, but parses it as a wrong flag.
        "context -",
    }
)
"""Lines whose exit codes may differ, because of bugs in the tool."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_lines_have_the_same_effects(name: str, command: Path, either_program: Path) -> None:
    """Exit codes, the written contexts and the streams are the same as with the tool, on both servers."""
    differing = compare(either_program, command, SCENARIOS[name], better=BETTER)
    assert not differing, differing


def test_the_selected_context_is_used(command: Path, server: ServerProcess) -> None:
    """The selected context is used without a flag or NATS_URL; an invalid context file is reported with the line."""
    nowhere = {"NATS_URL": "nats://127.0.0.1:1"}
    assert (
        execute(command, f"context add here --server nats://127.0.0.1:{server.port} --select", server).returncode == 0
    )
    assert execute(command, "context add away --server nats://127.0.0.1:1", server).returncode == 0
    assert execute(command, "stream ls", server, environment=nowhere).returncode == 1
    assert execute(command, "stream ls", server, without={"NATS_URL"}).returncode == 0
    assert execute(command, "stream ls --context away", server, without={"NATS_URL"}).returncode == 1
    folder = server.directory / "config" / "nats" / "context"
    (folder / "broken.json").write_text('{\n  "url": nats://\n}')
    broken = execute(command, "stream ls --context broken", server)
    assert broken.returncode == 1
    assert b"broken.json: " in broken.stderr
    assert b"line 2" in broken.stderr
    listed = execute(command, "context ls", server)
    assert (listed.returncode, b"broken.json" in listed.stderr, b"here" in listed.stdout) == (0, True, True)
    assert execute(command, "context validate", server).returncode == 1
    (folder / "broken.json").unlink()


def test_secrets_are_kept_but_not_shown(command: Path, server: ServerProcess) -> None:
    """Context files are only readable by their owner; no output contains a password or token."""
    line = "context add secret --server nats://h --user joe --password hushhush"
    assert b"hushhush" not in execute(command, line, server).stdout
    path = server.directory / "config" / "nats" / "context" / "secret.json"
    assert json.loads(path.read_text())["password"] == "hushhush"
    assert path.stat().st_mode & 0o077 == 0
    for line in ("context info secret", "context info secret --json", "context ls --json", "context validate secret"):
        assert b"hushhush" not in execute(command, line, server).stdout, line


def test_a_context_is_edited_in_an_editor(command: Path, server: ServerProcess) -> None:
    """`edit` runs the program in EDITOR, and saves the edited file."""
    assert execute(command, "context add edited --description before", server).returncode == 0
    done = execute(command, "context edit edited", server, environment={"EDITOR": "sed -i s/before/after/"})
    assert b"Description: after" in done.stdout, done.stderr
    failed = execute(command, "context edit edited", server, environment={"EDITOR": "false"})
    assert failed.returncode == 1


def test_counters_count(command: Path, server: ServerProcess) -> None:
    """Counters go up and down with numbers of any size, and are also printed as JSON."""
    assert execute(command, "stream add C --subjects c.> --allow-counter --defaults", server).returncode == 0
    big = "123456789012345678901234567891"
    assert execute(command, f"counter incr c.a {big}", server).stdout.decode() == f"{big}\n"
    assert lines(command, "counter decr c.a 1 --json", server) == [{"subject": "c.a", "value": big[:-1] + "0"}]
    [view] = lines(command, "counter view c.a --json", server)
    assert view["increment"] == "-1"
    assert lines(command, "counter ls c.* --json", server) == [{"subject": "c.a"}]


def test_what_is_told_as_json(command: Path, server: ServerProcess) -> None:
    """Account, round trips and errors are printed as JSON."""
    told = json.loads(execute(command, "account info --json", server).stdout)
    assert (told["user"]["account"], told["jetstream"]["streams"] >= 0) == ("$G", True)
    [target] = lines(command, "rtt 3 --json", server)
    assert target["url"] == f"nats://127.0.0.1:{server.port}"
    assert [result["rtt"] > 0 for result in target["results"]] == [True]
    assert lines(command, "errors lookup 10059 --json", server) == [
        {"error_code": 10059, "code": 404, "description": "stream not found"}
    ]
    assert len(lines(command, "errors ls --json", server)) > 150


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "elvish", "powershell"])
def test_shells_complete_commands(shell: str, command: Path, server: ServerProcess) -> None:
    """The completion script contains the commands and their flags."""
    script = execute(command, f"completion {shell}", server)
    assert script.returncode == 0
    assert b"consumer" in script.stdout
    assert b"max-msgs-per-subject" in script.stdout
