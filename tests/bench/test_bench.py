"""Tests of the benchmarks' arithmetic and rendering; nothing is measured here."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.binaries import stonechat_server

from . import churn, natsload, render
from .churner import KINDS
from .core import SCENARIOS
from .figures import client_limits
from .part import spread

if TYPE_CHECKING:
    from pathlib import Path

RESULTS: dict[str, Any] = {
    "scenarios": [
        {
            "scenario": "1to1-16",
            "about": "one publisher, one subscriber",
            "errors": ["ours run 2: server log ends:\nsome line\nthe failure: 3 messages never arrived"],
            "metrics": {
                "msgs/s": {
                    "better": "higher",
                    "ours": {"values": [30.0, 50.0, None]},
                    "theirs": {"values": [10.0, 10.0, 10.0]},
                    "ours/theirs": {"values": [3.0, 5.0, None]},
                },
                "msgs/cpu s": {
                    "better": "higher",
                    "ours": {"values": [50.0, 50.0, None]},
                    "theirs": {"values": [10.0, 10.0, 10.0]},
                },
                "peak MiB": {"better": "lower", "ours": {"values": [5.0]}, "theirs": {"values": [10.0]}},
                "server cores": {"better": "neither", "ours": {"values": [1.0]}, "theirs": {"values": [1.0]}},
            },
        }
    ]
}
TAKEN = {
    "date": "2026-01-01",
    "runs": 1,
    "secs": 0.6,
    "rough": True,
    "machine": {"model": "abacus", "cpus": 2, "memory_gib": 1, "kernel": "6.1", "python": "3.12"},
    "ours": "a",
    "theirs": "b",
}


def scenario() -> dict[str, Any]:
    return copy.deepcopy(natsload.shorten(RESULTS, [("ours", "theirs")])[0])


def test_runs_stay_paired_where_one_failed() -> None:
    short = scenario()
    assert short["figures"]["msgs/s"] == {"ours": [40.0, 30.0, 50.0], "theirs": [10.0, 10.0, 10.0]}
    assert short["ratios"]["msgs/s"]["ours/theirs"] == [4.0, 3.0, 5.0]
    assert short["errors"] == ["the failure: 3 messages never arrived"]


def test_spread_of_nothing_is_nothing() -> None:
    assert spread([]) == []
    assert spread([3.0, 1.0, 123456.0]) == [3.0, 1.0, 123460.0]


def test_a_server_with_time_to_spare_waited_for_the_load() -> None:
    short = scenario()
    assert not client_limits(short)
    page = "<!-- core: made by make bench -->\n<!-- end of core -->"
    assert "| 5.0 | 4.0 |" in render.fill(page, {"core": {"taken": TAKEN, "scenarios": [short]}})
    short["figures"]["server cores"]["ours"] = [0.5, 0.5, 0.5]
    assert client_limits(short)
    assert "| 5.0 | 4.0* |" in render.fill(page, {"core": {"taken": TAKEN, "scenarios": [short]}})


def test_what_was_not_measured_is_shown_as_missing() -> None:
    short = scenario()
    short["ratios"], short["figures"] = {}, {}
    page = "<!-- core: made by make bench -->\n<!-- end of core -->"
    row = "| `1to1-16` | one publisher, one subscriber | - | - | - | - | - | - | - |"
    assert row in render.fill(page, {"core": {"taken": TAKEN, "scenarios": [short]}})


def test_the_page_keeps_what_is_outside_the_markers() -> None:
    page = "before\n<!-- core: made by make bench -->\nold\n<!-- end of core -->\nafter\n"
    filled = render.fill(page, {"core": {"taken": TAKEN, "scenarios": [scenario()]}})
    assert filled.startswith("before\n")
    assert filled.endswith("\nafter\n")
    assert "old" not in filled
    assert "| `1to1-16` | one publisher, one subscriber | 50 | 10 | 5.0 | 4.0 |" in filled
    assert "Rough" in filled
    assert "3 messages never arrived" in filled
    assert render.fill(filled, {"core": {"taken": TAKEN, "scenarios": [scenario()]}}) == filled


def test_a_page_without_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no markers for core"):
        render.fill("nothing", {"core": {"taken": TAKEN, "scenarios": []}})


def matches(pattern: str, subject: str) -> bool:
    ours, theirs = pattern.split("."), subject.split(".")
    return len(ours) == len(theirs) and all(a in ("*", b) for a, b in zip(ours, theirs, strict=True))


def test_churn_never_matches_the_busy_subject() -> None:
    assert matches("bench.*", "bench.0")
    assert not any(matches(kind.format(sid), "bench.0") for kind in KINDS for sid in range(1, 100))


def test_the_rate_of_a_churning_client_is_what_it_noted_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert churn.confirmed(log) == []
    log.write_text("7 100 0.100\n7 500 0.500\n8 300 0.600\n")
    assert churn.confirmed(log) == [1000.0, 500.0]


@pytest.mark.skipif(sys.platform != "linux", reason="natsload reads /proc")
def test_natsload_knows_the_scenarios_and_measures_our_server(tmp_path: Path) -> None:
    program = natsload.find()
    listed = subprocess.run([program, "list"], check=True, capture_output=True, text=True).stdout
    assert set(SCENARIOS) <= {line.split()[0] for line in listed.splitlines()}
    chosen = ["1to1-16", "tls-1to1-128", "js-sync-memory-128"]
    command: list[str | Path] = [
        program,
        "run",
        "--server",
        f"ours={stonechat_server()}",
        "--scenario",
        ",".join(chosen),
    ]
    command += ["--runs", "1", "--secs", "0.2", "--scale", "0.01", "--dir", tmp_path, "--json", tmp_path / "out.json"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    results = json.loads((tmp_path / "out.json").read_text())
    assert {s["scenario"]: s["errors"] for s in results["scenarios"]} == {name: [] for name in chosen}
    assert all(s["metrics"]["msgs/s"]["ours"]["median"] > 0 for s in results["scenarios"])
