"""Draws the plots of the benchmark pages: ratios of the core and the `kv` scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from .figures import DURABLE_PAIR, KV_ROWS, PAIR, PER_CPU, RATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

mpl.use("svg")
# A fixed salt, so that the same measurements give the same file.
mpl.rcParams["svg.hashsalt"] = "stonechat"

from matplotlib import pyplot as plt  # noqa: E402

_OURS, _RATE = "#00796b", "#ef6c00"


def draw(part: Mapping[str, Any], into: Path) -> None:
    """Draws bars for messages per CPU second, with the spread of the runs, and dots for the rate."""
    shown = [s for s in part["scenarios"] if s["ratios"].get(PER_CPU, {}).get(PAIR)]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(shown) + 1.6))
    for row, scenario in enumerate(reversed(shown)):
        middle, least, greatest = scenario["ratios"][PER_CPU][PAIR]
        axes.barh(
            row,
            middle,
            height=0.62,
            color=_OURS,
            xerr=[[middle - least], [greatest - middle]],
            ecolor="#80cbc4",
            label="messages per CPU second" if row == 0 else None,
        )
        rate = scenario["ratios"][RATE][PAIR][0]
        axes.plot(rate, row, "o", color=_RATE, markeredgecolor="white", label="rate" if row == 0 else None)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [s["scenario"] for s in reversed(shown)])
    axes.set_xlim(left=0)
    axes.set_xlabel("stonechat-server over nats-server; 1 is as good, more is better")
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    # Without a date, so that the same measurements give the same file.
    figure.savefig(into, metadata={"Date": None})
    plt.close(figure)


def draw_kv(part: Mapping[str, Any], into: Path) -> None:
    """Draws how many times better ours is, per figure: bars for lazy syncs in both, dots for our durable default."""
    scenarios = {scenario["scenario"]: scenario for scenario in part["scenarios"]}
    shown = []
    for row in KV_ROWS:
        ratios = scenarios.get(row.scenario, {"ratios": {}})["ratios"].get(row.metric, {})
        lazy, durable = (
            _gain(ratios.get(pair, []), is_more_better=row.is_more_better) for pair in (PAIR, DURABLE_PAIR)
        )
        if lazy is not None:
            shown.append((f"{row.scenario}: {row.metric}", lazy, durable))
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(shown) + 1.6))
    for place, (_, lazy, durable) in enumerate(reversed(shown)):
        axes.barh(place, lazy, height=0.62, color=_OURS, label="both lazy" if place == 0 else None)
        if durable is not None:
            label = "ours durable, theirs lazy" if place == 0 else None
            axes.plot(durable, place, "o", color=_RATE, markeredgecolor="white", label=label)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [name for name, _, _ in reversed(shown)])
    axes.set_xlabel("how many times better than nats-server; 1 is as good, more is better")
    axes.legend(loc="lower right")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(into, metadata={"Date": None})
    plt.close(figure)


def _gain(ratio: Sequence[float], *, is_more_better: bool) -> float | None:
    """Returns the median ratio, inverted if less is better."""
    if not ratio or not ratio[0]:
        return None
    return ratio[0] if is_more_better else 1 / ratio[0]
