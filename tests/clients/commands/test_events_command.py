"""`stonechat events` compared with `nats events`: advisories of both servers, and their output."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.command_lines import SYSTEM_CONFIG, command_environment, execute, json_keys, tool_or_skip
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PREFIX = "io.nats.jetstream.advisory.v1."


class Watch:
    """A command that prints events into a file until it is interrupted."""

    def __init__(self, program: Path, line: str, server: ServerProcess, name: str) -> None:
        self.output = server.directory / name
        self.errors = server.directory / f"{name}.err"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [program, *shlex.split(line)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=command_environment(server),
                cwd=server.directory,
            )

    @property
    def text(self) -> str:
        """The output so far."""
        return self.output.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events printed with `--json`, without an incomplete last line."""
        complete = self.text.rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines()]

    def interrupt(self) -> int:
        """Sends Ctrl-C and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextlib.contextmanager
def watching(program: Path, line: str, server: ServerProcess, name: str = "events") -> Iterator[Watch]:
    """Runs the command, and yields when it has its subscriptions."""
    watch = Watch(program, line, server, name)
    try:
        wait_for(lambda: "listening for events" in watch.errors.read_text() or watch.process.poll(), "the command")
        yield watch
    finally:
        watch.process.kill()
        watch.process.wait()


def do(command: Path, server: ServerProcess, *script: str) -> None:
    """Runs command lines that must succeed."""
    for line in script:
        done = execute(command, line, server)
        assert done.returncode == 0, (line, done)


def has(kind: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: any(event["type"] == PREFIX + kind for event in events)


@pytest.fixture
def either(either_program: Path) -> Iterator[ServerProcess]:
    """A server with a system account: ours, then the real one."""
    with ServerProcess(either_program, SYSTEM_CONFIG) as server:
        yield server


def test_advisories_are_those_that_the_tool_prints(command: Path, either: ServerProcess) -> None:
    """Both commands print the same events with the same content, until Ctrl-C."""
    tool = tool_or_skip()
    line = "events --js-advisory --js-metric --no-srv-advisory --json"
    theirs = Watch(tool, line, either, "nats")
    try:
        with watching(command, line, either) as ours:

            def both_told() -> bool:
                execute(command, "stream info NONE --json", either)
                return bool(theirs.events) and bool(ours.events)

            wait_for(both_told, "both tools")
            do(
                command,
                either,
                "stream add A --subjects a.> --defaults",
                "pub a.x one",
                "consumer add A C --pull --defaults --max-deliver 1 --sample 100",
                "consumer next A C",
                "consumer pause A C 1h -f",
                "consumer rm A C -f",
                # The stream is edited, not deleted: nats-server sends the advisory of a deletion only sometimes,
                # because the deleted stream itself has to send it.
                "stream edit A --description last -f",
            )

            def all_told(watch: Watch) -> bool:
                return has("stream_action")(watch.events) and '"modify"' in watch.text.rpartition("stream_action")[2]

            wait_for(lambda: all_told(theirs) and all_told(ours), "all events")
            told = {event["id"]: event for event in ours.events}
            same = [event for event in theirs.events if event["id"] in told]
            assert len(same) >= 5
            assert [event for event in same if event != told[event["id"]]] == []
            kinds = {event["type"] for event in ours.events}
            assert {PREFIX + "stream_action", PREFIX + "consumer_action", PREFIX + "api_audit"} <= kinds
            assert ours.interrupt() == 0
    finally:
        theirs.process.kill()
        theirs.process.wait()


def test_events_are_shown_in_full_and_in_short(command: Path, either: ServerProcess) -> None:
    """Events are printed with titles and names; the filter matches anywhere in the event and ignores case."""
    flags = "--js-advisory --no-srv-advisory"
    with (
        watching(command, f"events {flags}", either, "full") as full,
        watching(command, f"event {flags} --short", either, "short") as short,
        watching(command, f"e {flags} --json --filter 'wanted.*'", either, "filtered") as filtered,
        watching(command, f"events {flags} --cloudevent", either, "cloud") as cloud,
    ):
        do(
            command,
            either,
            "stream add OTHER --subjects other --defaults",
            "stream add WANTED --subjects wanted --defaults",
            "consumer add WANTED C --pull --defaults",
            "stream edit WANTED --description last -f",
        )
        wait_for(lambda: full.text.count("Stream Action") >= 3, "events in full")
        wait_for(lambda: short.text.count("[Stream Action]") >= 3, "events in short")
        wait_for(lambda: '"modify"' in filtered.text, "filtered events")
        wait_for(lambda: '"modify"' in cloud.text, "cloud events")
        for expected in ("] Stream Action\n", "Action: create\n", "Stream: WANTED\n", "Consumer: C\n", "JetStream API"):
            assert expected in full.text, (expected, full.text)
        assert "[Consumer Action] action: create, stream: WANTED, consumer: C\n" in short.text
        assert all("WANTED" in json.dumps(event) for event in filtered.events)
        event = cloud.events[0]
        assert (event["specversion"], event["source"], event["subject"]) == ("1.0", "urn:nats:jetstream", "advisory")
        assert event["data"]["type"] == event["type"]


def test_clients_are_told_to_the_system_account(command: Path, oracle_program: Path) -> None:
    """Clients that connect and disconnect are events of the system account; our server does not send them yet."""
    with (
        ServerProcess(oracle_program, SYSTEM_CONFIG) as server,
        watching(command, "events --user sys --password pw", server, "full") as full,
        watching(command, "events --user sys --password pw --json", server, "json") as told,
    ):
        do(command, server, "pub a.x one --user app --password pw")
        wait_for(lambda: "Client Disconnected" in full.text, "the client's end")
        wait_for(lambda: any("reason" in event for event in told.events), "the client's end as JSON")
        for expected in ("Client Connected", "User: app", "Account: APP", "Server: tested", "Reason: Client Closed"):
            assert expected in full.text, (expected, full.text)
        event = next(event for event in told.events if event["type"].endswith("client_connect"))
        assert {".client.id", ".client.acc", ".server.name"} <= json_keys(event)


def test_events_of_streams_and_subjects(command: Path, server: ServerProcess) -> None:
    """Events can be read from a stream or a subject; other messages are shown escaped."""
    do(
        command,
        server,
        "stream add EVENTS --subjects '$JS.EVENT.ADVISORY.STREAM.>' --defaults --no-ack",
        "stream add A --subjects a --defaults",
    )
    with watching(command, "events --stream EVENTS --short", server) as stored:
        wait_for(lambda: "stream: A\n" in stored.text, "the event of before")
        do(command, server, "stream add B --subjects b --defaults")
        wait_for(lambda: "stream: B\n" in stored.text, "a new event")
        assert stored.interrupt() == 0
    with watching(command, "events --no-srv-advisory --subjects x.y --subjects z", server) as others:
        do(command, server, 'pub x.y \'{"type": "mine", "n": 1}\'', "pub z '\x1b[2Jtext'")
        wait_for(lambda: "is no event" in others.text, "both messages")
        assert "Event of an unknown type on x.y" in others.text
        assert '"n": 1' in others.text
        assert "\x1b" not in others.text


def test_wrong_flags_are_errors(command: Path, server: ServerProcess) -> None:
    """Wrong flags are errors; the tool fails too, or waits for ever."""
    tool = tool_or_skip()
    for line, said in {
        "events --no-srv-advisory": "no events were chosen",
        "events --stream A --all": "--stream goes with no flag",
        "events --filter '('": "--filter is wrong",
    }.items():
        done = execute(command, line, server)
        assert (done.returncode, done.stdout) == (1, b""), (line, done)
        assert said in done.stderr.decode(), (line, done)
        assert execute(tool, line, server).returncode == 1, line
    assert execute(command, "events --stream NOTHING", server).returncode == 1
