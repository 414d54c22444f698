"""Finds or builds natsload, runs it, and summarises its results."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .part import BUILD, ROOT, BenchError, may_be_urgent, say, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .part import Plan


def find() -> Path:
    """Returns the load generator: `$NATSLOAD`, else built from rust/natsload."""
    named = os.environ.get("NATSLOAD")
    if named:
        found = shutil.which(named)
        if found is None:
            raise BenchError(f"NATSLOAD={named} is not a program that can be run")
        return Path(found).resolve()
    say("bench: building natsload")
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--package", "stonechat-natsload"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise BenchError("natsload could not be built")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "natsload"


def wrapper(name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Path:
    """Writes a script that executes `command` followed by the script's own arguments, and returns its path."""
    path = BUILD / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in (environment or {}).items())
    line = " ".join(shlex.quote(str(word)) for word in command)
    path.write_text(f'#!/bin/sh\n{exports}exec {line} "$@"\n')
    path.chmod(0o755)
    return path


def run(
    plan: Plan, servers: Mapping[str, Path], scenarios: Sequence[str], into: Path, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Runs scenarios against servers in turn; returns natsload's JSON, which has the errors of failed scenarios."""
    command: list[str | Path] = [find(), "run"]
    for name, path in servers.items():
        command += ["--server", f"{name}={path}"]
    command += ["--scenario", ",".join(scenarios), "--runs", str(plan.runs), "--secs", str(plan.secs), "--json", into]
    command += ["--scale", str(plan.scale), *options]
    if may_be_urgent():
        command += ["--nice", "-15"]
    into.parent.mkdir(parents=True, exist_ok=True)
    into.unlink(missing_ok=True)
    ended = subprocess.run(command, check=False)
    if not into.exists():
        raise BenchError(f"natsload ended with {ended.returncode} and no results")
    results: dict[str, Any] = json.loads(into.read_text())
    return results


def shorten(results: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Returns for each scenario the spread of each figure, and of the ratios per run between the servers of a pair."""
    return [_shorten_one(scenario, pairs) for scenario in results["scenarios"]]


def _shorten_one(scenario: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    figures: dict[str, dict[str, list[float]]] = {}
    ratios: dict[str, dict[str, list[float]]] = {}
    for metric, item in scenario["metrics"].items():
        runs: dict[str, list[float | None]] = {
            name: value["values"] for name, value in item.items() if isinstance(value, dict) and "/" not in name
        }
        figures[metric] = {name: spread([x for x in values if x is not None]) for name, values in runs.items()}
        ratios[metric] = {
            f"{first}/{second}": spread([x / y for x, y in zip(runs[first], runs[second], strict=True) if x and y])
            for first, second in pairs
            if first in runs and second in runs
        }
    return {
        "scenario": scenario["scenario"],
        "about": scenario["about"],
        "errors": [_reason(error) for error in scenario["errors"]],
        "figures": figures,
        "ratios": ratios,
    }


def _reason(error: str) -> str:
    """Returns the last line of an error; the lines before it are the server's log."""
    return error.strip().splitlines()[-1].strip()
