"""Command lines run in the `nats` tool and in `stonechat`, and what they leave on a server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import nats
import pytest

from tests.support import binaries
from tests.support.process import ServerProcess
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NO_TIME = "0001-01-01T00:00:00Z"
"""What the tool writes where there is no time."""

CONFIG = "jetstream { store_dir: js }"

SYSTEM_CONFIG = """
    server_name: tested
    jetstream { store_dir: js }
    accounts {
        SYS: { users: [{ user: sys, password: pw }] }
        APP: { jetstream: enabled, users: [{ user: app, password: pw }] }
    }
    system_account: SYS
    no_auth_user: app
"""
"""A server with a system account beside the one that clients without credentials are in."""


def command_environment(server: ServerProcess) -> dict[str, str]:
    """The environment of a command: its server and home folder, no context and no settings of the user."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "XDG_"))}
    return variables | {
        "NATS_URL": f"nats://127.0.0.1:{server.port}",
        "HOME": str(server.directory),
        # The tool asks the system for the home folder, not the variable.
        "XDG_CONFIG_HOME": str(server.directory / "config"),
        "TZ": "UTC",
    }


def execute(
    program: Path,
    line: str,
    server: ServerProcess,
    *,
    stdin: bytes | None = None,
    timeout: float = 30,
    environment: dict[str, str] | None = None,
    without: set[str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of a tool without a terminal, a context or colours, in the server's folder."""
    variables = command_environment(server) | (environment or {})
    return subprocess.run(
        [program, *shlex.split(line)],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        env={name: value for name, value in variables.items() if name not in (without or set())},
        cwd=server.directory,
    )


def lines(command: Path, line: str, server: ServerProcess) -> list[dict[str, Any]]:
    """What a command prints as JSON, an object a line."""
    done = execute(command, line, server)
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


class Stored(NamedTuple):
    """What a stream holds, as far as it does not depend on time."""

    config: dict[str, Any]
    messages: list[tuple[int, str, str, str]]
    consumers: dict[str, dict[str, Any]]


async def effects(server: ServerProcess) -> dict[str, Stored]:
    """All streams of a server."""
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")

    async def ask(call: str, body: object) -> dict[str, Any]:
        answer = await client.request(f"$JS.API.{call}", json.dumps(body).encode())
        told: dict[str, Any] = json.loads(answer.data)
        return told

    found = {}
    for stream in (await ask("STREAM.LIST", {}))["streams"] or []:
        config = stream["config"]
        # What tools and servers note there about themselves.
        own = without_reserved(config.pop("metadata", None))
        if own:
            config["metadata"] = own
        messages = []
        ids: dict[str, str] = {}
        for sequence in range(stream["state"]["first_seq"], stream["state"]["last_seq"] + 1):
            message = (await ask(f"STREAM.MSG.GET.{config['name']}", {"seq": sequence})).get("message")
            if message is not None:
                headers = base64.b64decode(message.get("hdrs", "")).decode()
                # A copied message names its consumer, by chance.
                kept = sorted(
                    line
                    for line in headers.split("\r\n")
                    if line.startswith(("KV-", "Nats-")) and not line.startswith("Nats-Stream-Source")
                )
                subject, data = of_objects(message["subject"], message.get("data", ""), ids)
                messages.append((sequence, subject, data, "\n".join(kept)))
        consumers = (await ask(f"CONSUMER.LIST.{config['name']}", {}))["consumers"] or []
        # nats.go leaves those that it reads in order with, for five seconds.
        lasting = [entry for entry in consumers if entry["config"].get("inactive_threshold") != 5 * 10**9]
        found[config["name"]] = Stored(config, messages, {entry["name"]: consumer(entry) for entry in lasting})
    await client.close()
    return found


def of_objects(subject: str, data: str, ids: dict[str, str]) -> tuple[str, str]:
    """Subject and data of a message of an object store, with numbers for the ids that clients draw by chance."""
    if not subject.startswith("$O."):
        return subject, data
    parts = subject.split(".")
    if parts[2] == "C":
        parts[3] = ids.setdefault(parts[3], f"id{len(ids)}")
        return ".".join(parts), data
    described = json.loads(base64.b64decode(data))
    described["nuid"] = ids.setdefault(described["nuid"], f"id{len(ids)}")
    # Clients write it as they like; the time of the message counts.
    described.pop("mtime", None)
    return subject, json.dumps(described, sort_keys=True)


def without_reserved(metadata: dict[str, str] | None) -> dict[str, str]:
    """What people have noted, without the notes of servers and tools."""
    return {name: value for name, value in (metadata or {}).items() if not name.startswith(("_nats.", "io.nats."))}


def consumer(info: dict[str, Any]) -> dict[str, Any]:
    """A consumer's configuration and where it stands, without times."""
    config = dict(info["config"])
    if config.get("pause_until") == NO_TIME:
        config.pop("pause_until")
    config["metadata"] = without_reserved(config.get("metadata"))
    standing = {name: info.get(name) for name in ("num_ack_pending", "num_redelivered", "num_pending", "paused")}
    places = {name: info[name]["stream_seq"] for name in ("delivered", "ack_floor")}
    return config | standing | places


def json_keys(value: object, path: str = "") -> set[str]:
    """The paths of all fields that say something; lists count by their first items, and metadata as one field."""
    if value == NO_TIME:
        return set()
    if isinstance(value, list):
        return json_keys(value[0], f"{path}[]") if value else set()
    if not isinstance(value, dict) or path.endswith("metadata"):
        return {path}
    return {path}.union(*(json_keys(inner, f"{path}.{name}") for name, inner in value.items()))


def tool_or_skip() -> Path:
    """The `nats` tool; without it the test is skipped."""
    tool = binaries.nats_tool()
    if tool is None:
        pytest.skip("there is no nats tool: set NATS_TOOL (scripts/nats-tool.sh builds it where Go is)")
    return tool


def compare(
    program: Path,
    command: Path,
    scenario: Iterable[str],
    *,
    better: frozenset[str] = frozenset(),
    config: str = CONFIG,
    files: dict[str, bytes] | None = None,
    exact: str | None = None,
) -> str:
    """Runs the lines in both tools, each on a server of its own, and tells what differs.

    Compared are whether a line fails, the JSON keys of lines with `--json` that print one object in both, and what
    is stored in the end. Lines in `better` may end otherwise.
    """
    tool = tool_or_skip()
    differing = []
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        theirs, ours = (stack.enter_context(ServerProcess(program, config)) for _ in range(2))
        for server in (theirs, ours):
            for name, content in (files or {}).items():
                (server.directory / name).write_bytes(content)
        for line in scenario:
            runs = pool.map(execute, (tool, command), (line, line), (theirs, ours))
            expected, got = runs
            # Wrong usage is 1 there and 2 here, as clap has it.
            codes = (expected.returncode, got.returncode)
            is_exact = exact is not None and line.startswith(exact) and not got.stderr.startswith(b"error:")
            is_same = codes[0] == codes[1] if is_exact else bool(codes[0]) == bool(codes[1])
            if not is_same and line not in better:
                differing.append(
                    f"{line}: nats {expected.returncode} {expected.stdout!r} {expected.stderr!r}, "
                    f"stonechat {got.returncode} {got.stdout!r} {got.stderr!r}"
                )
            elif "--json" in line and got.returncode == 0 and line not in better:
                differing.extend(differing_keys(line, expected.stdout, got.stdout))
        differing.extend(differing_effects(theirs, ours))
        differing.extend(unequal("settings", settings(theirs), settings(ours)))
    return "\n".join(differing)


def differing_effects(theirs: ServerProcess, ours: ServerProcess) -> list[str]:
    """What differs in the streams of two servers, once mirrors and sources have copied what they copy."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        differing = list(unequal("", asyncio.run(effects(theirs)), asyncio.run(effects(ours))))
        if not differing or time.monotonic() > deadline:
            return differing


def settings(server: ServerProcess) -> dict[str, object]:
    """The files that a tool keeps for its user: contexts, and which of them is selected."""
    found: dict[str, object] = {}
    for path in sorted((server.directory / "config").rglob("*")):
        if path.is_file():
            text = path.read_text().replace(str(server.port), "PORT").replace(str(server.directory), "FOLDER")
            found[path.name] = json.loads(text) if path.suffix == ".json" else text
    return found


def unequal(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    """The places at which two values differ."""
    if isinstance(theirs, Stored) and isinstance(ours, Stored):
        theirs, ours = theirs._asdict(), ours._asdict()
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            yield from unequal(f"{path}.{name}", theirs.get(name), ours.get(name))
    elif theirs != ours:
        yield f"{path}: nats {theirs}, stonechat {ours}"


def differing_keys(line: str, expected: bytes, got: bytes) -> Iterator[str]:
    """The keys that the tool prints and we do not; outputs of other shapes are not compared."""
    try:
        theirs, ours = json.loads(expected), json.loads(got)
    except json.JSONDecodeError:
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for path in sorted(json_keys(theirs) - json_keys(ours)):
            yield f"{line}: only nats has the key {path}"
