"""Runs command lines in the `nats` tool and in `stonechat`, and compares their results and effects on a server."""

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
"""What the tool writes for an unset time."""

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
"""Configuration with a system account, and another account for clients without credentials."""


def command_environment(server: ServerProcess) -> dict[str, str]:
    """Returns the environment of a command: server and home folder, without contexts and settings of the user."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "XDG_"))}
    return variables | {
        "NATS_URL": f"nats://127.0.0.1:{server.port}",
        "HOME": str(server.directory),
        # The tool gets the home folder from the system, not from HOME.
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
    """Runs a command line without a terminal, a context or colours, in the server's folder."""
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
    """Runs a command and returns the JSON objects that it prints, one per line."""
    done = execute(command, line, server)
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


class Stored(NamedTuple):
    """The contents of a stream that do not depend on time."""

    config: dict[str, Any]
    messages: list[tuple[int, str, str, str]]
    consumers: dict[str, dict[str, Any]]


async def effects(server: ServerProcess) -> dict[str, Stored]:
    """Returns the contents of all streams of a server."""
    client = await nats.connect(f"nats://127.0.0.1:{server.port}")

    async def ask(call: str, body: object) -> dict[str, Any]:
        answer = await client.request(f"$JS.API.{call}", json.dumps(body).encode())
        told: dict[str, Any] = json.loads(answer.data)
        return told

    found = {}
    for stream in (await ask("STREAM.LIST", {}))["streams"] or []:
        config = stream["config"]
        # Remove the metadata that tools and servers add.
        own = without_reserved(config.pop("metadata", None))
        if own:
            config["metadata"] = own
        messages = []
        ids: dict[str, str] = {}
        for sequence in range(stream["state"]["first_seq"], stream["state"]["last_seq"] + 1):
            message = (await ask(f"STREAM.MSG.GET.{config['name']}", {"seq": sequence})).get("message")
            if message is not None:
                headers = base64.b64decode(message.get("hdrs", "")).decode()
                # `Nats-Stream-Source` of a copied message contains a random consumer name.
                kept = sorted(
                    line
                    for line in headers.split("\r\n")
                    if line.startswith(("KV-", "Nats-")) and not line.startswith("Nats-Stream-Source")
                )
                subject, data = of_objects(message["subject"], message.get("data", ""), ids)
                messages.append((sequence, subject, data, "\n".join(kept)))
        consumers = (await ask(f"CONSUMER.LIST.{config['name']}", {}))["consumers"] or []
        # nats.go does not delete its ordered consumers; they expire after five seconds.
        lasting = [entry for entry in consumers if entry["config"].get("inactive_threshold") != 5 * 10**9]
        found[config["name"]] = Stored(config, messages, {entry["name"]: consumer(entry) for entry in lasting})
    await client.close()
    return found


def of_objects(subject: str, data: str, ids: dict[str, str]) -> tuple[str, str]:
    """Returns subject and data of a message of an object store, with the random ids replaced by numbers."""
    if not subject.startswith("$O."):
        return subject, data
    parts = subject.split(".")
    if parts[2] == "C":
        parts[3] = ids.setdefault(parts[3], f"id{len(ids)}")
        return ".".join(parts), data
    described = json.loads(base64.b64decode(data))
    described["nuid"] = ids.setdefault(described["nuid"], f"id{len(ids)}")
    # The format of `mtime` differs between clients; they use the time of the message.
    described.pop("mtime", None)
    return subject, json.dumps(described, sort_keys=True)


def without_reserved(metadata: dict[str, str] | None) -> dict[str, str]:
    """Returns the user's metadata, without entries of servers and tools."""
    return {name: value for name, value in (metadata or {}).items() if not name.startswith(("_nats.", "io.nats."))}


def consumer(info: dict[str, Any]) -> dict[str, Any]:
    """Returns a consumer's configuration and position, without times."""
    config = dict(info["config"])
    if config.get("pause_until") == NO_TIME:
        config.pop("pause_until")
    config["metadata"] = without_reserved(config.get("metadata"))
    standing = {name: info.get(name) for name in ("num_ack_pending", "num_redelivered", "num_pending", "paused")}
    places = {name: info[name]["stream_seq"] for name in ("delivered", "ack_floor")}
    return config | standing | places


def json_keys(value: object, path: str = "") -> set[str]:
    """Returns the paths of all fields with a value; only the first item of a list counts, and metadata is one field."""
    if value == NO_TIME:
        return set()
    if isinstance(value, list):
        return json_keys(value[0], f"{path}[]") if value else set()
    if not isinstance(value, dict) or path.endswith("metadata"):
        return {path}
    return {path}.union(*(json_keys(inner, f"{path}.{name}") for name, inner in value.items()))


def tool_or_skip() -> Path:
    """Returns the `nats` tool; without it the test is skipped."""
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
    """Runs the lines in both tools, each on its own server, and returns a report of the differences.

    It compares success or failure of each line, and the streams at the end. It also compares the JSON keys of lines
    with `--json`, if both tools print one object. Lines in `better` may succeed or fail differently.
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
            # The exit code for wrong usage is 1 in the tool and 2 in ours, since clap uses 2.
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
    """Returns the differences in the streams of two servers; waits until mirrors and sources have caught up."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        differing = list(unequal("", asyncio.run(effects(theirs)), asyncio.run(effects(ours))))
        if not differing or time.monotonic() > deadline:
            return differing


def settings(server: ServerProcess) -> dict[str, object]:
    """Returns the files that a tool writes for its user: contexts, and the name of the selected one."""
    found: dict[str, object] = {}
    for path in sorted((server.directory / "config").rglob("*")):
        if path.is_file():
            text = path.read_text().replace(str(server.port), "PORT").replace(str(server.directory), "FOLDER")
            found[path.name] = json.loads(text) if path.suffix == ".json" else text
    return found


def unequal(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    """Yields the paths at which two values differ."""
    if isinstance(theirs, Stored) and isinstance(ours, Stored):
        theirs, ours = theirs._asdict(), ours._asdict()
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            yield from unequal(f"{path}.{name}", theirs.get(name), ours.get(name))
    elif theirs != ours:
        yield f"{path}: nats {theirs}, stonechat {ours}"


def differing_keys(line: str, expected: bytes, got: bytes) -> Iterator[str]:
    """Yields the keys that the tool prints and ours does not; outputs that are not an object are not compared."""
    try:
        theirs, ours = json.loads(expected), json.loads(got)
    except json.JSONDecodeError:
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for path in sorted(json_keys(theirs) - json_keys(ours)):
            yield f"{line}: only nats has the key {path}"
