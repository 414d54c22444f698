"""`python -m tests.bench PART ...`: measures parts, then renders the page. `make bench` calls it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.binaries import BinaryNotFoundErrorError, nats_server, stonechat_server

from . import churn, consumers, core, cores, ids, instructions, interpreter, kv, plot, render, startup
from .part import BUILD, FULL_RUNS, FULL_SECS, ROOT, BenchError, Plan, say, urgent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOCS = ROOT / "docs" / "benchmarks"

_MEASURES: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "core": core.measure,
    "churn": churn.measure,
    "consumers": consumers.measure,
    "cores": cores.measure,
    "ids": ids.measure,
    "interpreter": interpreter.measure,
    "startup": startup.measure,
    "kv": kv.measure,
}
# These parts take hours, so they are only measured if named.
_LONG = ["kv"]
_EXTRA = [part for part in _MEASURES if part not in ("core", *_LONG)]
_GROUPS = {"all": ["core", *_EXTRA], "extra": _EXTRA, "report": []}


def main() -> int:
    """Runs the command. The exit code is 0 if all parts were measured without errors."""
    parser = argparse.ArgumentParser(prog="tests.bench", description="Measure our server against nats-server.")
    choices = [*_GROUPS, *_MEASURES, "instructions"]
    parser.add_argument("parts", nargs="+", choices=choices, metavar="PART", help=", ".join(choices))
    parser.add_argument("--runs", type=int, default=FULL_RUNS, help="runs of each measurement")
    parser.add_argument("--secs", type=float, default=FULL_SECS, help="length of a measured span")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on numbers of messages, keys and connections")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="for instructions: our builds to compare, the oldest first",
    )
    given = parser.parse_args()
    parts = list(dict.fromkeys(part for name in given.parts for part in _GROUPS.get(name, [name])))
    began = time.monotonic()
    try:
        plan = Plan(given.runs, given.secs, stonechat_server(), nats_server(), given.scale)
        failed = [part for part in parts if not _measured(part, plan, given.server)]
    except (BenchError, BinaryNotFoundErrorError) as error:
        sys.exit(f"bench: {error}")
    report()
    say(f"\nbench: {len(parts) - len(failed)} of {len(parts)} parts in {time.monotonic() - began:.0f} s")
    if failed:
        say(f"bench: not measured, or not all of it: {', '.join(failed)}")
    return 1 if failed else 0


def report() -> None:
    """Merges the results into docs/benchmarks/*.json, and renders pages and plots from them."""
    _render("core", [part for part in render.PARTS if part != "kv"], plot.draw)
    _render("kv", ["kv"], plot.draw_kv)


def _render(name: str, parts: Sequence[str], draw: Callable[[dict[str, Any], Path], None]) -> None:
    """Renders one page and its plot from the given parts."""
    store = DOCS / f"{name}.json"
    measured: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    for part in parts:
        file = BUILD / f"{part}.json"
        if file.exists():
            measured[part] = json.loads(file.read_text())
    if not measured:
        return
    store.write_text(_compact(measured))
    page = DOCS / f"{name}.md"
    page.write_text(render.fill(page.read_text(), measured))
    if name in measured:
        draw(measured[name], DOCS / f"{name}.svg")
    say(f"bench: rendered {page.relative_to(ROOT)}")


def _measured(part: str, plan: Plan, builds: list[str]) -> bool:
    """Measures a part and writes its results; returns whether it had no errors."""
    say(f"\n=== bench: {part} ===")
    try:
        if part == "instructions":
            named = (build.partition("=") for build in builds or [f"ours={plan.ours}"])
            result = instructions.measure({name: Path(path).resolve() for name, _, path in named})
        else:
            with urgent():
                result = _MEASURES[part](plan)
    except (BenchError, AssertionError, OSError) as error:
        say(f"bench: {part}: {error}")
        return False
    taken = plan.taken()
    if part == "instructions":
        # Instructions are counted, not timed, so the numbers of runs and seconds don't apply.
        taken.update(rough=False, runs=1, secs=0)
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / f"{part}.json").write_text(_compact({"taken": taken, **result}))
    return not any(scenario["errors"] for scenario in _scenarios(result))


def _scenarios(result: dict[str, Any]) -> list[dict[str, Any]]:
    found = result.get("scenarios", [])
    return found if isinstance(found, list) else []


def _compact(value: Any) -> str:
    """Returns JSON for readable diffs: each list of numbers is on one line."""
    text = json.dumps(value, indent=1)
    return re.sub(r"\[[\s\d.,e+-]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
