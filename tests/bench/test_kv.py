"""The bucket and object scenarios at a small size: all expected data arrives, in order and undamaged."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.binaries import stonechat_server

from . import kv, natsload, render
from .figures import KV_ROWS
from .test_bench import TAKEN

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="natsload reads /proc")


def test_every_row_is_of_a_scenario_that_is_measured() -> None:
    assert {row.scenario for row in KV_ROWS} == set(kv.SCENARIOS)


def test_the_page_shows_both_pairs_and_what_is_to_reach() -> None:
    runs = {"ours": {"values": [6.0]}, "theirs": {"values": [2.0]}, "durable": {"values": [4.0]}}
    results = {"scenarios": [{"scenario": "kv-keys-10m", "about": "", "errors": [], "metrics": {"msgs/cpu s": runs}}]}
    part = {"taken": {**TAKEN, "scale": 0.5}, "scenarios": natsload.shorten(results, kv.PAIRS)}
    page = render.fill("<!-- kv: made by make bench -->\n<!-- end of kv -->", {"kv": part})
    assert "| 10M keys, 50M puts: puts per CPU second | 6 | 2 | 3.00 | 2.00 | 3 |" in page
    assert "| ready after kill -9, s | - | - | - | - | 0.5 |" in page
    assert "at 0.5 of the size" in page


@linux
@pytest.mark.parametrize(
    ("scenario", "scale"),
    [
        ("kv-keys-1000", 0.05),
        # 200,000 keys, a million puts.
        ("kv-keys-10m", 0.02),
        # 500 watchers of ten keys and 20 of all.
        ("kv-watch-10k", 0.05),
        # 256 MiB.
        ("kv-object-4g", 0.0625),
        ("kv-objects-1m", 0.005),
    ],
)
def test_a_sample_of_each_scenario(tmp_path: Path, scenario: str, scale: float) -> None:
    command: list[str | Path] = [natsload.find(), "run", "--server", f"ours={stonechat_server()}"]
    command += ["--scenario", scenario, "--runs", "1", "--secs", "0.2", "--scale", str(scale)]
    command += ["--dir", tmp_path / "servers", "--json", tmp_path / "out.json"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out.json").read_text())["scenarios"][0]
    figures = {name: metric["ours"]["median"] for name, metric in found["metrics"].items()}
    assert {row.metric for row in KV_ROWS if row.scenario == scenario} <= figures.keys()
    # The scenarios themselves fail on wrong data. Figures that they only report are checked here.
    assert figures.get("consumers left", 0) == 0
    assert figures.get("disk back s", 0) < 60, "the disk of a deleted object is not given back"
