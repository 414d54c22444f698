"""Recorded histories of compare-and-set writers with kill -9: each key of a bucket is a register with versions.

The program in tests/linearizability checks them with porcupine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import natsload
from tests.support.binaries import nats_server, stonechat_server

SCENARIO = "kv-cas-kills"
CHECKER_VARIABLE = "LINEARIZABILITY"
SECS = os.environ.get("STONECHAT_HISTORY_SECS", "0.3")
"""A fifth of the seconds between two kills; there are five kills."""

Operation = dict[str, Any]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="natsload reads /proc")


def test_a_bucket_is_linearizable_over_kills(tmp_path: Path) -> None:
    figures, history = _recorded(stonechat_server(), tmp_path)
    assert figures["violations"] == 0
    assert figures["kills"] == 5
    assert min(figures["refused"], figures["puts"], figures["gets"]) > 0
    operations = [json.loads(line) for line in history.read_text().splitlines()]
    _assert_one_winner_a_revision(operations)
    checker = _checker()
    code, told = _checked(checker, history)
    assert code == 0, told
    planted = tmp_path / "planted.jsonl"
    _plant_a_stale_read(operations)
    planted.write_text("".join(json.dumps(operation) + "\n" for operation in operations))
    code, told = _checked(checker, planted)
    assert code == 1, told
    assert len(told["bad"]) == 1, told


def test_what_the_real_server_does_over_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the result without asserting it: nats-server acknowledges writes that may only be in its memory."""
    figures, history = _recorded(nats_server(), tmp_path)
    code, told = _checked(_checker(), history)
    with capsys.disabled():
        print(
            f"\nnats-server over {figures['kills']:.0f} kills: {figures['violations']:.0f} violations, {code}: {told}"
        )


@pytest.mark.parametrize(
    ("kind", "read", "code"),
    [
        ("get", {"revision": 11, "value": 2}, 0),
        ("get", {"revision": 10, "value": 1}, 1),
        ("update", {"expected": 11, "revision": 12, "value": 3}, 0),
        ("update", {"expected": 10, "revision": 12, "value": 3}, 1),
        ("update", {"expected": 10, "revision": 11, "value": 3, "outcome": "refused"}, 0),
        ("update", {"expected": 11, "revision": 11, "value": 3, "outcome": "refused"}, 1),
        ("get", {"revision": 11, "value": 2, "outcome": "lost"}, 2),
    ],
)
def test_the_checker_knows_right_from_wrong(tmp_path: Path, kind: str, read: Operation, code: int) -> None:
    operations = [
        _operation(0, "put", revision=10, value=1),
        _operation(2, "get", revision=10, value=1),
        _operation(4, "update", expected=10, revision=11, value=2),
        _operation(6, kind, **read),
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(operation) + "\n" for operation in operations))
    assert _checked(_checker(), history)[0] == code


def _operation(call: int, kind: str, **given: Any) -> Operation:
    usual = {"key": 0, "generation": 0, "client": 0, "expected": 0, "outcome": "done", "told": True}
    return {**usual, "call": call, "end": call + 1, "kind": kind, **given}


def _recorded(program: Path, folder: Path) -> tuple[dict[str, float], Path]:
    """Runs the writers against a server; returns the figures and the file with the history."""
    results = folder / "results.json"
    command: list[str | Path] = [natsload.find(), "run", "--server", f"it={program}", "--scenario", SCENARIO]
    command += ["--runs", "1", "--secs", SECS, "--scale", "0.25"]
    command += ["--dir", folder, "--histories", folder, "--json", results]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)
    metrics = json.loads(results.read_text())["scenarios"][0]["metrics"]
    return {name: metric["it"]["median"] for name, metric in metrics.items()}, folder / "it-0.jsonl"


def _assert_one_winner_a_revision(operations: list[Operation]) -> None:
    won = [
        (o["key"], o["expected"]) for o in operations if o["kind"] in ("update", "delete") and o["outcome"] == "done"
    ]
    made = [o["revision"] for o in operations if o["kind"] != "get" and o["outcome"] == "done"]
    assert len(won) > 10
    assert len(set(won)) == len(won), "a revision has two winners"
    assert len(set(made)) == len(made), "a revision was given twice"


def _plant_a_stale_read(operations: list[Operation]) -> None:
    """Changes the result of one get in the middle of the run to the revision before the current one."""
    done = [o for o in operations if o["outcome"] == "done"]
    gets = [o for o in done if o["kind"] == "get" and o["client"] < len(operations)]
    for get in gets[len(gets) // 2 :]:
        same = [o for o in done if (o["key"], o["generation"]) == (get["key"], get["generation"])]
        writes = sorted((o["revision"], o["end"], o["value"]) for o in same if o["kind"] != "get")
        place = next((i for i, (revision, _, _) in enumerate(writes) if revision == get["revision"]), 0)
        if place > 0 and writes[place][1] < get["call"]:
            get["revision"], _, get["value"] = writes[place - 1]
            return
    raise AssertionError("no get in the history can be made stale")


def _checker() -> Path:
    named = os.environ.get(CHECKER_VARIABLE)
    if not named:
        pytest.skip(f"{CHECKER_VARIABLE} names no checker: scripts/linearizability.sh builds it where Go is")
    return Path(named)


def _checked(checker: Path, history: Path) -> tuple[int, Any]:
    """Runs the checker; returns its exit code and its output."""
    ended = subprocess.run([checker, history], check=False, capture_output=True, text=True, timeout=400)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else ended.stderr
